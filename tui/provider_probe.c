/* SPDX-License-Identifier: Apache-2.0 */
/*
 * provider_probe.c - have a provider tested, and read what it answered
 *
 * Runs in: kenaz.
 * Trusts:  the engine; nothing that the provider answered.
 * Never:   shows anything: callers do, escaped.
 */
#include "tui/provider_probe.h"

#include <stdio.h>
#include <string.h>

/**
 * provider_probe() - Test a provider
 * @app:	Context
 * @name:	Provider
 * @model:	Model to ask for a token; NULL: its list of models
 * @ret_probe:	Free with provider_probe_fini(); written when it was tested,
 *		well or not
 *
 * Return: 0, or the exit code after the reason was printed.
 */
int provider_probe(struct app *app, const char *name, const char *model,
		   struct provider_probe *ret_probe)
{
	cJSON *params = app_params(), *result = NULL;
	const char *body, *left_out;
	enum err e;
	int code;

	app_add_text(params, "name", name);
	app_add_text(params, "model", model);
	code = app_call_slow(app, "provider.test", params, &result);
	if (code != 0)
		return code;
	*ret_probe = (struct provider_probe){
		.ok = app_is_true(result, "ok"),
		.http_status = (unsigned)app_number(result, "http_status", 0),
		.latency_ms = app_number(result, "latency_ms", 0)};
	(void)snprintf(ret_probe->text, sizeof(ret_probe->text), "%s",
		       app_text(result, "text"));
	body = app_text(result, "body");
	left_out = app_text(result, "body_left_out");
	if (ret_probe->ok && app_is_true(result, "list")) {
		e = left_out[0] ? ERR_LIMIT
				: model_list_read(span_text(body),
						  &ret_probe->models);
		ret_probe->listed = e == ERR_OK;
		if (e != ERR_OK)
			(void)snprintf(ret_probe->no_models,
				       sizeof(ret_probe->no_models),
				       "its list of models cannot be read: %s",
				       left_out[0] ? left_out : err_text(e));
	}
	cJSON_Delete(result);
	return 0;
}

/** provider_probe_fini() - Free the models; a zeroed one is fine */
void provider_probe_fini(struct provider_probe *probe)
{
	model_list_fini(&probe->models);
}
