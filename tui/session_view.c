/* SPDX-License-Identifier: Apache-2.0 */
/*
 * session_view.c - one session for people: stages, limits, usage
 *
 * Runs in: kenaz.
 * Trusts:  nothing in the answer: reasons may come from a guest.
 * Never:   leaves a text unescaped.
 */
#include "tui/session_view.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#include "engine/base/text.h"
#include "tui/output.h"

/* Widths of the columns, in characters. */
#define NAME_WIDTH  16
#define STAGE_WIDTH 20

static const struct column heads[] = {
	{"session", "session", CELL_ANY},
	{"state", "state", CELL_ANY},
	{"reason", "reason", CELL_ANY},
	{"user", "user", CELL_ANY},
	{"image", "image", CELL_ANY},
	{"accelerator", "accelerator", CELL_ANY},
	{"provider", "provider", CELL_ANY},
	{"age", "age_s", CELL_AGE},
	{"memory MiB", "limits.memory_mib", CELL_ANY},
	{"vCPUs", "limits.vcpus", CELL_ANY},
	{"disk MiB", "disk.disk_mib", CELL_ANY},
	{"disk failed", "disk.failed", CELL_ANY},
	{"no isolation", "no_isolation", CELL_YES},
	{"program runs", "main.running", CELL_ANY},
	{"program's code", "main.code", CELL_ANY},
	{"vsock socket", "vsock_socket", CELL_ANY},
};

static const struct column usage[] = {
	{"requests", "usage.requests", CELL_ANY},
	{"input tokens", "usage.input_tokens", CELL_ANY},
	{"output tokens", "usage.output_tokens", CELL_ANY},
	{"tool calls", "usage.tool_calls", CELL_ANY},
	{"  denied", "usage.tool_calls_denied", CELL_ANY},
	{"egress allowed", "usage.egress_allowed", CELL_ANY},
	{"  denied", "usage.egress_denied", CELL_ANY},
	{"traffic", "usage.bytes", CELL_BYTES},
};

/* Each part of the fingerprint, and what it stands for. */
static const struct {
	struct column column;
	const char *meaning;
} fingerprint[] = {
	{{"session", "fingerprint.session", CELL_ANY},
	 "this session: the machine below, its id, user, policy and nonce"},
	{{"machine", "fingerprint.digest", CELL_ANY},
	 "everything below, memory and vCPUs: equal machines have equal ones"},
	{{"image", "fingerprint.image", CELL_ANY},
	 "the image's manifest, which names kernel and initramfs"},
	{{"signed by", "fingerprint.image_key", CELL_ANY},
	 "the name here of the trusted key that signed that manifest"},
	{{"  key", "fingerprint.image_key_id", CELL_ANY}, "and its id"},
	{{"kernel", "fingerprint.kernel", CELL_ANY},
	 "the kernel's file, verified at this start"},
	{{"initrd", "fingerprint.initrd", CELL_ANY},
	 "the first file system with the guest's programs, likewise"},
	{{"root", "disk.root", CELL_ANY},
	 "the root file that the manifest names"},
	{{"root hash", "disk.root_hash", CELL_ANY},
	 "against which the guest checks each block of it when it reads"},
	{{"QEMU", "fingerprint.qemu", CELL_ANY},
	 "the program that plays the machine, hashed at this start"},
	{{"QEMU version", "fingerprint.qemu_version", CELL_ANY},
	 "as that program's file says"},
	{{"arguments", "fingerprint.arguments", CELL_ANY},
	 "QEMU's arguments; vm.start in the log has them in full"},
	{{"jail", "fingerprint.jail", CELL_ANY},
	 "the same with the jail's arguments around them"},
	{{"template", "fingerprint.template", CELL_ANY},
	 "the booted guest that it was restored from"},
	{{"CPU", "fingerprint.cpu", CELL_ANY},
	 "the processor that the guest sees"},
	{{"command line", "fingerprint.command_line", CELL_ANY},
	 "what the kernel was started with"},
	{{"vsock", "fingerprint.vsock", CELL_ANY},
	 "whose device carries the guest's streams: ours, or the kernel's"},
};

/* What the session does not have is left out. */
static enum err put_rows(const cJSON *session, const struct column *rows,
			 size_t count, const char *indent, struct buf *out)
{
	char cell[OUTPUT_CELL_MAX_BYTES];
	enum err e = ERR_OK;
	size_t i;

	for (i = 0; e == ERR_OK && i < count; i++) {
		output_cell(session, &rows[i], cell, sizeof(cell));
		if (cell[0] && !(cell[0] == '-' && cell[1] == '\0'))
			e = buf_printf(out, "%s%-*s %s\n", indent, NAME_WIDTH,
				       rows[i].title, cell);
	}
	return e;
}

static enum err put_fingerprint(const cJSON *session, struct buf *out)
{
	enum err e = buf_put_text(out, "\nfingerprint\n");
	size_t i;

	for (i = 0; e == ERR_OK && i < ARRAY_SIZE(fingerprint); i++) {
		size_t before = out->len_bytes;

		e = put_rows(session, &fingerprint[i].column, 1, "  ", out);
		if (e == ERR_OK && out->len_bytes > before)
			e = buf_printf(out, "  %-*s %s\n", NAME_WIDTH, "",
				       fingerprint[i].meaning);
	}
	return e;
}

static enum err put_created(const cJSON *session, struct buf *out)
{
	const cJSON *item =
		cJSON_GetObjectItemCaseSensitive(session, "created");
	time_t seconds;
	struct tm tm;
	char text[32];

	if (!cJSON_IsNumber(item) || item->valuedouble < 0 ||
	    item->valuedouble > 1e11)
		return ERR_OK;
	seconds = (time_t)item->valuedouble;
	if (!gmtime_r(&seconds, &tm) ||
	    strftime(text, sizeof(text), "%Y-%m-%d %H:%M:%S UTC", &tm) == 0)
		return ERR_OK;
	return buf_printf(out, "%-*s %s\n", NAME_WIDTH, "created", text);
}

/* "pool (booted 35 s before)": which start it was, and from what. */
static enum err put_start(const cJSON *session, struct buf *out)
{
	static const struct column how = {"", "start", CELL_ANY};
	static const struct column vm = {"machine", "vm", CELL_ANY};
	const cJSON *ms =
		cJSON_GetObjectItemCaseSensitive(session, "booted_before_ms");
	char cell[OUTPUT_CELL_MAX_BYTES];
	enum err e;

	if (!cJSON_GetObjectItemCaseSensitive(session, "start"))
		return ERR_OK;
	output_cell(session, &how, cell, sizeof(cell));
	e = buf_printf(out, "%-*s %s", NAME_WIDTH, "start", cell);
	if (e == ERR_OK && cJSON_IsNumber(ms) && ms->valuedouble >= 0)
		e = buf_printf(out, " (%s %.0f s before)",
			       strcmp(cell, "template") == 0 ? "made"
							     : "booted",
			       ms->valuedouble / 1000);
	if (e == ERR_OK)
		e = buf_put_u8(out, '\n');
	if (e == ERR_OK)
		e = put_rows(session, &vm, 1, "", out);
	return e;
}

/* Core gives when each stage was reached; people ask how long it took. */
static enum err put_stages(const cJSON *stages, struct buf *out)
{
	double before = 0;
	const cJSON *stage;
	enum err e;

	if (cJSON_GetArraySize(stages) == 0)
		return ERR_OK;
	e = buf_put_text(out, "\nstages\n");
	cJSON_ArrayForEach(stage, stages)
	{
		const cJSON *ms = cJSON_GetObjectItemCaseSensitive(stage, "ms");
		const struct column name = {"", "name", CELL_ANY};
		char cell[OUTPUT_CELL_MAX_BYTES];
		double at = cJSON_IsNumber(ms) ? ms->valuedouble : before;

		output_cell(stage, &name, cell, sizeof(cell));
		if (e == ERR_OK)
			e = buf_printf(out, "  %-*.40s %7.0f ms\n", STAGE_WIDTH,
				       cell, at - before);
		before = at;
	}
	if (e == ERR_OK)
		e = buf_printf(out, "  %-*s %7.0f ms\n", STAGE_WIDTH, "total",
			       before);
	return e;
}

/**
 * session_view() - Append a session, one thing a line
 * @session:	Answer of session.show, borrowed
 * @out:	Appended to
 *
 * Return: ERR_OK; ERR_LIMIT; ERR_MEMORY.
 */
enum err session_view(const cJSON *session, struct buf *out)
{
	enum err e = put_rows(session, heads, ARRAY_SIZE(heads), "", out);

	if (e == ERR_OK)
		e = put_created(session, out);
	if (e == ERR_OK)
		e = put_start(session, out);
	if (e == ERR_OK)
		e = put_stages(cJSON_GetObjectItemCaseSensitive(session,
								"stages"),
			       out);
	if (e == ERR_OK)
		e = buf_put_text(out, "\nusage\n");
	if (e == ERR_OK)
		e = put_rows(session, usage, ARRAY_SIZE(usage), "  ", out);
	if (e == ERR_OK &&
	    cJSON_GetObjectItemCaseSensitive(session, "fingerprint"))
		e = put_fingerprint(session, out);
	return e;
}
