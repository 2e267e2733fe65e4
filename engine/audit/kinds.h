/* SPDX-License-Identifier: Apache-2.0 */
/* kinds.h - the table of event kinds and which intent each outcome closes */
#ifndef KENAZ_AUDIT_KINDS_H
#define KENAZ_AUDIT_KINDS_H

#include <stdbool.h>

#include "engine/base/buf.h"
#include "engine/proto/limits.h"

/*
 * X(id, text, closed_by): closed_by is the kind whose event ends what this one
 * opened, or NULL; an opened one without its end is dangling after a crash.
 */
#define KIND_TABLE(X)                                        \
	X(ENGINE_START, "engine.start", NULL)                \
	X(ENGINE_STOP, "engine.stop", NULL)                  \
	X(CONFIG_LOADED, "config.loaded", NULL)              \
	X(POLICY_LOADED, "policy.loaded", NULL)              \
	X(VM_START, "vm.start", NULL)                        \
	X(VM_DISK_FAILED, "vm.disk_failed", NULL)            \
	X(SESSION_START, "session.start", "session.end")     \
	X(SESSION_READY, "session.ready", NULL)              \
	X(SESSION_ADOPTED, "session.adopted", "session.end") \
	X(SESSION_END, "session.end", NULL)                  \
	X(LIMIT_REACHED, "limit.reached", NULL)              \
	X(PROMPT_SENT, "prompt.sent", "response.received")   \
	X(RESPONSE_RECEIVED, "response.received", NULL)      \
	X(TOOL_INVOKED, "tool.invoked", "tool.completed")    \
	X(TOOL_COMPLETED, "tool.completed", NULL)            \
	X(POLICY_ALLOW, "policy.allow", NULL)                \
	X(POLICY_DENY, "policy.deny", NULL)                  \
	X(APPROVAL_REQUESTED, "approval.requested", NULL)    \
	X(APPROVAL_GRANTED, "approval.granted", NULL)        \
	X(APPROVAL_DENIED, "approval.denied", NULL)          \
	X(APPROVAL_EXPIRED, "approval.expired", NULL)        \
	X(EGRESS_OPEN, "egress.open", "egress.close")        \
	X(EGRESS_CLOSE, "egress.close", NULL)                \
	X(FILE_PUT, "file.put", NULL)                        \
	X(FILE_GET, "file.get", NULL)                        \
	X(WORKSPACE_EXPORTED, "workspace.exported", NULL)    \
	X(SECRET_SET, "secret.set", NULL)                    \
	X(SECRET_USED, "secret.used", NULL)                  \
	X(SECRET_REMOVED, "secret.removed", NULL)            \
	X(PAYLOAD_READ, "payload.read", NULL)                \
	X(PAYLOAD_ERASED, "payload.erased", NULL)            \
	X(KEY_ROTATED, "key.rotated", NULL)                  \
	X(TERMINAL_ATTACHED, "terminal.attached", NULL)      \
	X(TERMINAL_DETACHED, "terminal.detached", NULL)      \
	X(LOG_RECOVERED, "log.recovered", NULL)              \
	X(VM_END, "vm.end", NULL)                            \
	X(TEMPLATE_MADE, "template.made", NULL)              \
	X(TEMPLATE_DROPPED, "template.dropped", NULL)        \
	X(VSOCK_CONNECT, "vsock.connect", "vsock.close")     \
	X(VSOCK_CLOSE, "vsock.close", NULL)                  \
	X(IMAGE_REFUSED, "image.refused", NULL)              \
	X(VAULT_OPENED, "vault.opened", NULL)                \
	X(VAULT_ROTATED, "vault.rotated", NULL)              \
	X(PROVIDER_CIRCUIT, "provider.circuit", NULL)        \
	X(BUDGET_KEPT, "budget.kept", NULL)                  \
	X(BUDGET_RESET, "budget.reset", NULL)

enum kind {
#define X(id, text, closed_by) KIND_##id,
	KIND_TABLE(X)
#undef X
		KIND_COUNT
};

const char *kind_text(enum kind kind);
const char *kind_closed_by(enum kind kind);
bool kind_find(struct span text, enum kind *ret_kind);

#endif
