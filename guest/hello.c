/* SPDX-License-Identifier: Apache-2.0 */
/*
 * hello.c - what the host gives a guest once, and the receipt for it
 *
 * Runs in: kenaz-guestd.
 * Trusts:  the host.
 * Never:   prints or keeps the entropy.
 *
 * Clones of one template share the state of their random number generators,
 * so nothing of a session runs before fresh entropy was mixed in and the
 * generators were seeded anew; clock, hostname and machine-id follow. The
 * receipt is made after all of it; a step that fails leaves none. The kernel
 * makes its boot_id when somebody first reads it, and before a hello nobody
 * does: it comes out of the new seed, too.
 */
#include "guest/hello.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/utsname.h>
#include <time.h>
#include <unistd.h>

#include <linux/random.h>
#include <sodium/crypto_hash_sha256.h>

#include "engine/base/jsonw.h"
#include "engine/base/text.h"
#include "engine/base/version.h"

#define MACHINE_ID_BYTES 16u
#define DECIMAL_MAX      24

/**
 * hello_receipt() - Prove which hello was received
 * @r:			Hello
 * @ret_receipt:	SHA-256 of nonce, entropy (both as bytes) and the wall
 *			clock in decimal
 */
void hello_receipt(const struct host_request *r,
		   uint8_t ret_receipt[HELLO_RECEIPT_BYTES])
{
	crypto_hash_sha256_state state;
	char wall[DECIMAL_MAX];
	int n = snprintf(wall, sizeof(wall), "%" PRIu64, r->wall_us);

	(void)crypto_hash_sha256_init(&state);
	(void)crypto_hash_sha256_update(&state, r->nonce, sizeof(r->nonce));
	(void)crypto_hash_sha256_update(&state, r->entropy, sizeof(r->entropy));
	(void)crypto_hash_sha256_update(&state, (const uint8_t *)wall,
					n > 0 ? (unsigned)n : 0u);
	(void)crypto_hash_sha256_final(&state, ret_receipt);
}

static enum err add_entropy(const struct host_request *r)
{
	/* struct rand_pool_info with room for the bytes */
	struct {
		int entropy_bits;
		int size_bytes;
		uint8_t bytes[HOST_REQUEST_ENTROPY_BYTES];
	} pool;
	enum err e = ERR_OK;
	int fd = open("/dev/urandom", O_RDWR | O_CLOEXEC);

	if (fd < 0)
		return ERR_SYS;
	pool.entropy_bits = 8 * (int)HOST_REQUEST_ENTROPY_BYTES;
	pool.size_bytes = (int)HOST_REQUEST_ENTROPY_BYTES;
	memcpy(pool.bytes, r->entropy, sizeof(pool.bytes));
	if (ioctl(fd, RNDADDENTROPY, &pool) != 0 ||
	    ioctl(fd, RNDRESEEDCRNG) != 0)
		e = ERR_SYS;
	explicit_bzero(&pool, sizeof(pool));
	(void)close(fd);
	return e;
}

/**
 * hello_seed() - Seed the kernel's generators and set the clock
 * @r:	Hello or reseed
 *
 * Return: ERR_OK; ERR_SYS.
 */
enum err hello_seed(const struct host_request *r)
{
	struct timespec t = {.tv_sec = (time_t)(r->wall_us / 1000000),
			     .tv_nsec = (long)(r->wall_us % 1000000) * 1000};

	if (add_entropy(r) != ERR_OK)
		return ERR_SYS;
	return clock_settime(CLOCK_REALTIME, &t) == 0 ? ERR_OK : ERR_SYS;
}

/* Derived, so that it says nothing about the entropy. */
static enum err write_machine_id(const struct host_request *r)
{
	static const char label[] = "kenaz machine-id";
	crypto_hash_sha256_state state;
	uint8_t digest[crypto_hash_sha256_BYTES];
	char text[2 * MACHINE_ID_BYTES + 2];
	ssize_t len = 2 * MACHINE_ID_BYTES + 1;
	enum err e;
	int fd;

	(void)crypto_hash_sha256_init(&state);
	(void)crypto_hash_sha256_update(&state, (const uint8_t *)label,
					sizeof(label));
	(void)crypto_hash_sha256_update(&state, r->entropy, sizeof(r->entropy));
	(void)crypto_hash_sha256_final(&state, digest);
	text_hex(digest, MACHINE_ID_BYTES, text);
	text[2 * MACHINE_ID_BYTES] = '\n';
	fd = open("/etc/machine-id", O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC,
		  0444);
	if (fd < 0)
		return ERR_SYS;
	e = write(fd, text, (size_t)len) == len ? ERR_OK : ERR_SYS;
	(void)close(fd);
	return e;
}

/**
 * hello_identify() - Take the new hostname and a new machine-id
 * @r:	Hello
 *
 * Return: ERR_OK; ERR_SYS.
 */
enum err hello_identify(const struct host_request *r)
{
	if (sethostname(r->hostname, strlen(r->hostname)) != 0)
		return ERR_SYS;
	return write_machine_id(r);
}

/**
 * hello_answer() - Append the one line that answers a hello
 * @r:		Hello
 * @out:	Buffer appended to
 *
 * Return: ERR_OK; ERR_LIMIT; ERR_MEMORY.
 */
enum err hello_answer(const struct host_request *r, struct buf *out)
{
	uint8_t receipt[HELLO_RECEIPT_BYTES];
	struct utsname names = {0};
	struct jsonw w;
	enum err e;

	hello_receipt(r, receipt);
	(void)uname(&names);
	jsonw_init(&w, out);
	jsonw_begin_object(&w);
	jsonw_put_u64(&w, "v", 1);
	jsonw_key(&w, "nonce");
	jsonw_hex(&w, span_of(r->nonce, sizeof(r->nonce)));
	jsonw_put_cstr(&w, "guestd", KENAZ_VERSION);
	jsonw_put_cstr(&w, "kernel", names.release);
	jsonw_key(&w, "receipt");
	jsonw_hex(&w, span_of(receipt, sizeof(receipt)));
	jsonw_end_object(&w);
	e = jsonw_finish(&w);
	if (e == ERR_OK)
		e = buf_put_text(out, "\n");
	return e;
}
