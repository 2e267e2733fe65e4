/* SPDX-License-Identifier: Apache-2.0 */
/*
 * boot.c - what the host told this guest before any stream existed
 *
 * Runs in: kenaz-guestd as PID 1, before anything of the session runs.
 * Trusts:  QEMU's firmware configuration device, which is the host's.
 * Never:   prints or passes on the secret; touches a port of the machine when
 *	    the kernel's command line does not say that there is something.
 *
 * QEMU's fw_cfg (docs/specs/fw_cfg.rst) is read through its two I/O ports: a
 * selector of 16 bits, and the bytes of the selected item one by one. So no
 * kernel module is needed, whatever the image. With Kenaz's own vsock device
 * there is no such document and nothing here is called.
 */
#include "guest/boot.h"

#include <string.h>
#include <sys/io.h>

#include "engine/proto/limits.h"

#define PORT_SELECT     0x510
#define PORT_DATA       0x511
#define PORT_COUNT      2
#define ITEM_SIGNATURE  0x0000
#define ITEM_DIRECTORY  0x0019
#define NAME_BYTES      56
#define FILES_MAX       512u
#define SIGNATURE       "QEMU"
#define SIGNATURE_BYTES 4u

static struct bootdoc doc;
static bool is_loaded;

static void read_bytes(uint8_t *data, size_t len_bytes)
{
	size_t i;

	for (i = 0; i < len_bytes; i++)
		data[i] = inb(PORT_DATA);
}

static void select_item(uint16_t item)
{
	outw(item, PORT_SELECT);
}

/* Big-endian, as everything in the directory. */
static uint32_t read_u32(void)
{
	uint8_t b[4];

	read_bytes(b, sizeof(b));
	return (uint32_t)b[0] << 24 | (uint32_t)b[1] << 16 |
	       (uint32_t)b[2] << 8 | (uint32_t)b[3];
}

static enum err find_item(uint16_t *ret_item, uint32_t *ret_bytes)
{
	uint8_t signature[SIGNATURE_BYTES], name[NAME_BYTES], b[4];
	uint32_t count, i, len;

	select_item(ITEM_SIGNATURE);
	read_bytes(signature, sizeof(signature));
	if (memcmp(signature, SIGNATURE, sizeof(signature)) != 0)
		return ERR_NOT_FOUND;
	select_item(ITEM_DIRECTORY);
	count = read_u32();
	for (i = 0; i < count && i < FILES_MAX; i++) {
		len = read_u32();
		read_bytes(b, sizeof(b)); /* its number, and two unused */
		read_bytes(name, sizeof(name));
		if (memcmp(name, BOOTDOC_NAME, sizeof(BOOTDOC_NAME)) != 0)
			continue;
		*ret_item = (uint16_t)(b[0] << 8 | b[1]);
		*ret_bytes = len;
		return ERR_OK;
	}
	return ERR_NOT_FOUND;
}

/**
 * boot_take() - Use a document from here on
 * @text:	All of it
 *
 * Return: ERR_OK; what bootdoc_parse() gives.
 */
enum err boot_take(struct span text)
{
	enum err e = bootdoc_parse(text, &doc);

	is_loaded = e == ERR_OK;
	return e;
}

/**
 * boot_load() - Read the document from QEMU
 *
 * Return: ERR_OK; ERR_NOT_FOUND; ERR_LIMIT; ERR_SYS when the ports cannot be
 *	   used; what bootdoc_parse() gives.
 */
enum err boot_load(void)
{
	uint8_t text[BOOTDOC_MAX_BYTES];
	uint32_t len_bytes;
	uint16_t item;
	enum err e;

	if (ioperm(PORT_SELECT, PORT_COUNT, 1) != 0)
		return ERR_SYS;
	e = find_item(&item, &len_bytes);
	if (e == ERR_OK && len_bytes > sizeof(text))
		e = ERR_LIMIT;
	if (e == ERR_OK) {
		select_item(item);
		read_bytes(text, len_bytes);
		e = boot_take(span_of(text, len_bytes));
	}
	explicit_bzero(text, sizeof(text));
	/* Programs of the session inherit nothing, but not even we keep it. */
	(void)ioperm(PORT_SELECT, PORT_COUNT, 0);
	return e;
}

/** boot_demands_secret() - Whether streams of the host begin with the secret */
bool boot_demands_secret(void)
{
	return is_loaded;
}

/** boot_secret_matches() - Whether this first line is it; constant time */
bool boot_secret_matches(struct span line)
{
	return is_loaded && bootdoc_line_matches(&doc, line);
}

/**
 * boot_host_port() - Where on the host a service of Kenaz listens
 * @port:	Its well-known number
 *
 * Return: @port itself, unless the document names another.
 */
unsigned boot_host_port(unsigned port)
{
	if (is_loaded && port == PORT_HOST_GATE)
		return doc.gate_port;
	if (is_loaded && port == PORT_HOST_EGRESS)
		return doc.egress_port;
	return port;
}
