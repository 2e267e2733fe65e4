/* SPDX-License-Identifier: Apache-2.0 */
/* credential.h - a key in the form in which requests carry it */
#ifndef KENAZ_BROKER_CREDENTIAL_H
#define KENAZ_BROKER_CREDENTIAL_H

#include "engine/broker/aws_key.h"
#include "engine/broker/keyscan.h"
#include "engine/broker/secret.h"

#define CREDENTIAL_PROXY_HEADER "proxy-authorization"

/* Counted: transfers outlive a change of the secret. */
struct credential {
	unsigned users;
	struct secret *line;      /* "x-api-key: KEY" and a NUL; or NULL */
	struct secret *text;      /* what aws borrows; or NULL */
	struct aws_key aws;       /* with text: to sign with */
	struct keyscan_key *scan; /* NULL: nothing that could be echoed */
};

MUST_CHECK enum err credential_new_header(const char *header,
					  const char *scheme, struct span key,
					  struct credential **ret_credential);
MUST_CHECK enum err credential_new_aws(struct span text,
				       struct credential **ret_credential);
MUST_CHECK enum err credential_new_proxy(struct span user_password,
					 struct credential **ret_credential);
struct credential *credential_hold(struct credential *c);
void credential_release(struct credential *c);

#endif
