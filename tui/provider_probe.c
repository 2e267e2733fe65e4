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

static void read_models(const cJSON *result, struct span body,
			struct provider_probe *probe)
{
	const char *left_out = app_text(result, "body_left_out");
	enum err e =
		left_out[0] ? ERR_LIMIT : model_list_read(body, &probe->models);

	probe->listed = e == ERR_OK;
	if (e != ERR_OK)
		(void)snprintf(probe->no_models, sizeof(probe->no_models),
			       "its list of models cannot be read: %s",
			       left_out[0] ? left_out : err_text(e));
}

/* A page for people, of a gateway or a login, can come with any status. */
static void read_body(const cJSON *result, struct provider_probe *probe)
{
	struct span body = span_text(app_text(result, "body"));

	if (probe->ok && provider_sent_a_page(body)) {
		probe->ok = false;
		(void)snprintf(
			probe->text, sizeof(probe->text),
			"HTTP %u: it answered with a page for a browser, "
			"not with JSON: check the host and the path of "
			"the endpoint (is a /v1 missing?), and that no "
			"login stands between",
			probe->http_status);
		return;
	}
	if (!probe->ok && provider_said(body, probe->said) != ERR_OK)
		probe->said[0] = '\0';
	if (probe->ok && app_is_true(result, "list"))
		read_models(result, body, probe);
}

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
	(void)snprintf(ret_probe->url, sizeof(ret_probe->url), "%s",
		       app_text(result, "url"));
	read_body(result, ret_probe);
	cJSON_Delete(result);
	return 0;
}

/** provider_probe_fini() - Free the models; a zeroed one is fine */
void provider_probe_fini(struct provider_probe *probe)
{
	model_list_fini(&probe->models);
}
