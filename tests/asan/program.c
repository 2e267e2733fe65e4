/* SPDX-License-Identifier: Apache-2.0 */
/*
 * program.c - what a sanitized program cannot do inside its jail
 *
 * Runs in: every program of a sanitizer build, never of a release.
 *
 * The leak check traces its own process, which no jail allows; unit tests,
 * which are not jailed, have it on. What was freed is kept for a while, to
 * find uses of it; little of it, so that a soak can see a process grow.
 */
const char *__asan_default_options(void);

__attribute__((visibility("default"))) const char *__asan_default_options(void)
{
	return "detect_leaks=0:quarantine_size_mb=4";
}
