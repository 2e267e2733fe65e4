/* SPDX-License-Identifier: Apache-2.0 */
/*
 * roles.c - who may use which verb of the control socket
 *
 * Runs in: kenazd.
 * Trusts:  the kernel for a peer's uid and gid, the host's user database for
 *	    its groups.
 * Never:   grants a verb that is not in the table.
 *
 * The table is that of docs/control.md.
 */
#include "engine/core/roles.h"

#include <grp.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LOOKUP_MAX_BYTES 65536u

#define NONE ROLE_REACH_NONE
#define OWN  ROLE_REACH_OWN
#define ALL  ROLE_REACH_ALL

static const struct {
	const char *verb;
	enum role_reach reach[CONFIG_ROLE_COUNT];
} verbs[] = {
	/* verb                user  approver auditor admin */
	{"engine.info", {ALL, ALL, ALL, ALL}},
	{"engine.stop", {NONE, NONE, NONE, ALL}},
	{"engine.handover", {NONE, NONE, NONE, ALL}},
	{"session.start", {OWN, NONE, NONE, ALL}},
	{"session.list", {OWN, ALL, ALL, ALL}},
	{"session.show", {OWN, ALL, ALL, ALL}},
	{"session.stop", {OWN, NONE, NONE, ALL}},
	{"session.wait", {OWN, NONE, NONE, ALL}},
	{"session.exec", {OWN, NONE, NONE, ALL}},
	{"session.attach", {OWN, NONE, NONE, ALL}},
	{"audit.list", {OWN, NONE, ALL, ALL}},
	{"audit.tail", {OWN, NONE, ALL, ALL}},
	{"audit.show", {OWN, NONE, ALL, ALL}},
	{"audit.payload", {OWN, NONE, ALL, NONE}},
	{"audit.dump", {NONE, NONE, ALL, ALL}},
	{"policy.show", {ALL, ALL, ALL, ALL}},
	{"budget.show", {OWN, OWN, ALL, ALL}},
	{"policy.check", {ALL, NONE, NONE, ALL}},
	{"policy.explain", {ALL, ALL, ALL, ALL}},
	{"policy.reload", {NONE, NONE, NONE, ALL}},
	{"approvals.list", {OWN, ALL, NONE, ALL}},
	{"approvals.grant", {NONE, ALL, NONE, ALL}},
	{"approvals.deny", {NONE, ALL, NONE, ALL}},
	{"provider.list", {ALL, ALL, ALL, ALL}},
	{"provider.models", {ALL, ALL, ALL, ALL}},
	{"provider.add", {NONE, NONE, NONE, ALL}},
	{"provider.remove", {NONE, NONE, NONE, ALL}},
	{"provider.test", {ALL, NONE, NONE, ALL}},
	{"alias.list", {ALL, ALL, ALL, ALL}},
	{"alias.add", {NONE, NONE, NONE, ALL}},
	{"alias.remove", {NONE, NONE, NONE, ALL}},
	{"secret.set", {NONE, NONE, NONE, ALL}},
	{"secret.list", {ALL, NONE, NONE, ALL}},
	{"secret.remove", {NONE, NONE, NONE, ALL}},
	{"secret.status", {ALL, NONE, NONE, ALL}},
	{"secret.unlock", {NONE, NONE, NONE, ALL}},
	{"secret.rewrap", {NONE, NONE, NONE, ALL}},
	{"vault.choices", {ALL, NONE, NONE, ALL}},
	{"vault.configure", {NONE, NONE, NONE, ALL}},
	{"image.list", {ALL, ALL, ALL, ALL}},
	{"image.show", {ALL, ALL, ALL, ALL}},
	{"image.verify", {ALL, NONE, ALL, ALL}},
	{"doctor", {ALL, ALL, ALL, ALL}},
};

static const char *const role_texts[CONFIG_ROLE_COUNT] = {"user", "approver",
							  "auditor", "admin"};

/** roles_verb_count() - How many verbs there are */
size_t roles_verb_count(void)
{
	return ARRAY_SIZE(verbs);
}

/** roles_verb_at() - A verb by number */
const char *roles_verb_at(size_t index)
{
	return verbs[index].verb;
}

/**
 * roles_reach() - How far a verb reaches for who holds some roles
 * @roles:	Bits of enum roles_bit
 * @verb:	Method of a request; may be hostile
 *
 * Return: the widest reach that one of the roles gives; NONE for a verb that
 *	   is not in the table.
 */
enum role_reach roles_reach(unsigned int roles, const char *verb)
{
	enum role_reach reach = NONE;

	for (size_t v = 0; v < ARRAY_SIZE(verbs); v++) {
		if (strcmp(verbs[v].verb, verb) != 0)
			continue;
		for (unsigned int r = 0; r < CONFIG_ROLE_COUNT; r++)
			if ((roles & (1u << r)) && verbs[v].reach[r] > reach)
				reach = verbs[v].reach[r];
	}
	return reach;
}

static void list_roles(const char *verb, char *ret_text, size_t cap_bytes)
{
	size_t len = 0;

	ret_text[0] = '\0';
	for (unsigned int r = 0; r < CONFIG_ROLE_COUNT; r++) {
		int n;

		if (roles_reach(1u << r, verb) == NONE)
			continue;
		n = snprintf(ret_text + len, cap_bytes - len, "%s%s",
			     len ? " or " : "", role_texts[r]);
		if (n > 0 && (size_t)n < cap_bytes - len)
			len += (size_t)n;
	}
}

/**
 * roles_check() - Whether a peer may use a verb on an object
 * @peer:	Who asks
 * @verb:	Method of the request
 * @owner:	User whose object it is; ROLES_NO_OWNER where it is nobody's
 * @ret_reason:	One sentence; written for ERR_PERMISSION and ERR_NOT_FOUND
 *
 * Return: ERR_OK; ERR_PERMISSION; ERR_NOT_FOUND for an unknown verb.
 */
enum err roles_check(const struct roles_peer *peer, const char *verb,
		     uid_t owner, char ret_reason[ROLES_REASON_MAX_BYTES])
{
	enum role_reach reach = roles_reach(peer->roles, verb);
	char needed[64];

	if (reach == ALL ||
	    (reach == OWN && (owner == peer->uid || owner == ROLES_NO_OWNER)))
		return ERR_OK;
	if (roles_reach(ROLES_ALL, verb) == NONE) {
		(void)snprintf(ret_reason, ROLES_REASON_MAX_BYTES,
			       "there is no such method");
		return ERR_NOT_FOUND;
	}
	list_roles(verb, needed, sizeof(needed));
	if (reach == OWN)
		(void)snprintf(ret_reason, ROLES_REASON_MAX_BYTES,
			       "%s reaches only what is your own", verb);
	else
		(void)snprintf(ret_reason, ROLES_REASON_MAX_BYTES,
			       "%s needs the role %s, which an administrator "
			       "gives in [roles] of kenaz.toml",
			       verb, needed);
	return ERR_PERMISSION;
}

static bool is_listed(const char *const *list, size_t count, const char *name)
{
	for (size_t i = 0; i < count; i++)
		if (strcmp(list[i], name) == 0)
			return true;
	return false;
}

/**
 * roles_of_names() - The roles of a user by name and groups
 * @config:		Has the table of [roles]
 * @user:		User's name
 * @groups:		Names of all of its groups
 * @group_count:	How many
 *
 * Return: bits of enum roles_bit; 0 for who is not listed.
 */
unsigned int roles_of_names(const struct config *config, const char *user,
			    const char *const *groups, size_t group_count)
{
	unsigned int roles = 0;

	for (unsigned int r = 0; r < CONFIG_ROLE_COUNT; r++) {
		const struct config_members *members = &config->roles[r];

		if (is_listed(members->users, members->user_count, user))
			roles |= 1u << r;
		for (size_t g = 0; g < group_count; g++)
			if (is_listed(members->groups, members->group_count,
				      groups[g]))
				roles |= 1u << r;
	}
	return roles;
}

static void name_user(uid_t uid, char *memory, char ret_name[])
{
	struct passwd entry, *found = NULL;

	if (getpwuid_r(uid, &entry, memory, LOOKUP_MAX_BYTES, &found) != 0 ||
	    !found ||
	    span_copy_text(span_text(found->pw_name), ret_name,
			   ROLES_USER_MAX_BYTES) != ERR_OK)
		(void)snprintf(ret_name, ROLES_USER_MAX_BYTES, "uid-%u", uid);
}

/* Adds what each group gives; a group without a name gives nothing. */
static unsigned int roles_of_groups(const struct config *config,
				    const char *user, gid_t gid, char *memory)
{
	int count = ROLES_GROUPS_MAX;
	gid_t *groups = calloc(ROLES_GROUPS_MAX, sizeof(*groups));
	unsigned int roles = 0;

	if (!groups)
		return 0;
	if (getgrouplist(user, gid, groups, &count) < 0)
		count = ROLES_GROUPS_MAX;
	for (int i = 0; i < count; i++) {
		struct group entry, *found = NULL;
		const char *name;

		if (getgrgid_r(groups[i], &entry, memory, LOOKUP_MAX_BYTES,
			       &found) != 0 ||
		    !found)
			continue;
		name = found->gr_name;
		roles |= roles_of_names(config, user, &name, 1);
	}
	free(groups);
	return roles;
}

/**
 * roles_of_peer() - The roles of who connected
 * @config:	Has the table of [roles]
 * @system:	Whether this is the system's engine
 * @engine_uid:	User of the engine
 * @uid:	From SO_PEERCRED
 * @gid:	From SO_PEERCRED
 * @ret_peer:	Written on success
 *
 * A user's own engine gives its owner every role and nobody else any. The
 * system's gives root every role and others what [roles] says.
 *
 * Return: ERR_OK; ERR_MEMORY.
 */
enum err roles_of_peer(const struct config *config, bool system,
		       uid_t engine_uid, uid_t uid, gid_t gid,
		       struct roles_peer *ret_peer)
{
	char *memory = malloc(LOOKUP_MAX_BYTES);
	struct roles_peer peer = {.uid = uid, .gid = gid};

	if (!memory)
		return ERR_MEMORY;
	name_user(uid, memory, peer.user);
	if (system && uid == 0)
		peer.roles = ROLES_ALL;
	else if (system)
		peer.roles = roles_of_names(config, peer.user, NULL, 0) |
			     roles_of_groups(config, peer.user, gid, memory);
	else if (uid == engine_uid)
		peer.roles = ROLES_ALL;
	free(memory);
	*ret_peer = peer;
	return ERR_OK;
}
