/* SPDX-License-Identifier: Apache-2.0 */
/* accel.h - images on disk and the accelerator that really works here */
#ifndef KENAZ_CORE_ACCEL_H
#define KENAZ_CORE_ACCEL_H

#include "engine/core/engine.h"

typedef void (*accel_done_fn)(void *context);

void accel_find_images(struct engine *e, const char *option);
const char *accel_default_image(const struct engine *e);
MUST_CHECK enum err accel_open_image(const struct engine *e, const char *name,
				     int *ret_fd);
void accel_decide(struct engine *e, const char *image, accel_done_fn done,
		  void *context);
void accel_forget(struct engine *e, const void *context);
void accel_read_cache(struct engine *e);

#endif
