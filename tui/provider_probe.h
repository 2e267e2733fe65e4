/* SPDX-License-Identifier: Apache-2.0 */
/* provider_probe.h - have a provider tested, and read what it answered */
#ifndef KENAZ_TUI_PROVIDER_PROBE_H
#define KENAZ_TUI_PROVIDER_PROBE_H

#include "tui/app.h"
#include "tui/model_list.h"
#include "tui/provider_said.h"

struct provider_probe {
	bool ok;
	unsigned http_status;
	double latency_ms;
	char text[1024]; /* what it means, one sentence; as the engine says */
	char url[512];   /* that was asked, or "" */
	char said[PROVIDER_SAID_MAX_BYTES]; /* its own words, or "" */
	bool listed;                        /* @models were read */
	char no_models[96]; /* else why; "" when no list was asked for */
	struct model_list models;
};

int provider_probe(struct app *app, const char *name, const char *model,
		   struct provider_probe *ret_probe);
void provider_probe_fini(struct provider_probe *probe);

#endif
