/* SPDX-License-Identifier: Apache-2.0 */
/*
 * policy_memory.c - memory that lives exactly as long as a policy
 *
 * Runs in: kenazd.
 * Trusts:  its callers.
 * Never:   releases one piece alone.
 */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "engine/core/policy_rule.h"

struct policy_block {
	struct policy_block *next;
	max_align_t data[];
};

/**
 * policy_alloc() - Zeroed memory that policy_free() releases
 * @policy:	Owner
 * @count:	Elements
 * @size_bytes:	Of one element
 * @error:	Receives a failure, told like every other
 *
 * Return: memory, also for no elements; NULL on failure.
 */
void *policy_alloc(struct policy *policy, size_t count, size_t size_bytes,
		   struct conf_error *error)
{
	struct policy_block *block = NULL;
	size_t bytes;

	if (!__builtin_mul_overflow(count, size_bytes, &bytes) &&
	    bytes < SIZE_MAX - sizeof(*block))
		block = calloc(1, sizeof(*block) + bytes);
	if (!block) {
		(void)conf_fail_at(error, NULL, 0, "out of memory");
		return NULL;
	}
	block->next = policy->blocks;
	policy->blocks = block;
	return block->data;
}

/**
 * policy_text_format() - Formatted text that lives as long as a policy
 * @policy:	Owner
 * @error:	Receives a failure
 * @format:	As printf(3)
 *
 * Return: text; "" on failure.
 */
const char *policy_text_format(struct policy *policy, struct conf_error *error,
			       const char *format, ...)
{
	va_list args;
	char *text;
	int len;

	va_start(args, format);
	len = vsnprintf(NULL, 0, format, args);
	va_end(args);
	if (len < 0)
		return "";
	text = policy_alloc(policy, (size_t)len + 1, 1, error);
	if (!text)
		return "";
	va_start(args, format);
	(void)vsnprintf(text, (size_t)len + 1, format, args);
	va_end(args);
	return text;
}

/** policy_free_blocks() - Release all of a policy's memory but itself */
void policy_free_blocks(struct policy *policy)
{
	struct policy_block *next;

	for (; policy->blocks; policy->blocks = next) {
		next = policy->blocks->next;
		free(policy->blocks);
	}
}
