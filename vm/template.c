/* SPDX-License-Identifier: Apache-2.0 */
/*
 * template.c - the two files of a booted guest, and what binds them
 *
 * Runs in: kenaz-launch.
 * Trusts:  the kernel's seals. Not a file that core hands over until its
 *	    seals, its digest and its header were checked.
 * Never:   gives a template to a VM that differs in image, QEMU or arguments;
 *	    lets anybody write to a template again.
 *
 * Theory of operation. The memory file is the guest's memory as it was, in
 * the memfd that it ran in; once QEMU and the launcher no longer map it, it
 * is sealed against writing, which the kernel refuses while anybody does. Its
 * content is hashed after that. The state file is a header and QEMU's device
 * state. The header names the memory file by device and inode number and by
 * digest; the template's digest is that of the whole state file.
 *
 * A clone hashes the state file (a third of a mebibyte) and compares the
 * memory file's numbers, not its content: a memfd that is sealed against
 * writing holds what it held when it was hashed, and while somebody holds it
 * no other file has its numbers. Hashing it again for each clone would take
 * longer than the whole restore.
 *
 * Header, little-endian: magic, u32 version, u32 its own size; digests of
 * manifest, QEMU and arguments; u64 memory size, device, inode; digest of the
 * memory; u64 size of the device state.
 */
#include "vm/template.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "vm/memory.h"

#define MAGIC       "KENAZTPL"
#define MAGIC_BYTES 8u

/**
 * template_header_put() - Append a header
 * @h:		Header
 * @out:	Appended to
 *
 * Return: ERR_OK; ERR_LIMIT; ERR_MEMORY.
 */
enum err template_header_put(const struct template_header *h, struct buf *out)
{
	const struct template_key *k = &h->key;
	enum err e = buf_put(out, MAGIC, MAGIC_BYTES);

	if (e == ERR_OK)
		e = buf_put_u32(out, TEMPLATE_VERSION);
	if (e == ERR_OK)
		e = buf_put_u32(out, TEMPLATE_HEADER_BYTES);
	if (e == ERR_OK)
		e = buf_put(out, k->manifest, DIGEST_BYTES);
	if (e == ERR_OK)
		e = buf_put(out, k->qemu, DIGEST_BYTES);
	if (e == ERR_OK)
		e = buf_put(out, k->arguments, DIGEST_BYTES);
	if (e == ERR_OK)
		e = buf_put_u64(out, k->memory_bytes);
	if (e == ERR_OK)
		e = buf_put_u64(out, h->memory_device);
	if (e == ERR_OK)
		e = buf_put_u64(out, h->memory_inode);
	if (e == ERR_OK)
		e = buf_put(out, h->memory_digest, DIGEST_BYTES);
	if (e == ERR_OK)
		e = buf_put_u64(out, h->state_bytes);
	return e;
}

static void get_digest(struct reader *r, uint8_t *ret_digest)
{
	struct span s = reader_get_span(r, DIGEST_BYTES);

	if (s.len_bytes == DIGEST_BYTES)
		memcpy(ret_digest, s.data, DIGEST_BYTES);
}

static enum err refuse(const char **ret_why, enum err e, const char *why)
{
	*ret_why = why;
	return e;
}

/**
 * template_header_get() - Read the header of a state file
 * @file:	The whole file
 * @ret_header:	Written on success
 * @ret_why:	Written on failure: the rest of "the template's state file "
 *
 * Return: ERR_OK; ERR_SHORT; ERR_FORMAT; ERR_VERSION; ERR_RANGE.
 */
enum err template_header_get(struct span file,
			     struct template_header *ret_header,
			     const char **ret_why)
{
	struct template_header h = {0};
	struct reader r;
	struct span magic;
	uint32_t version, size;

	reader_init(&r, file);
	magic = reader_get_span(&r, MAGIC_BYTES);
	version = reader_get_u32(&r);
	size = reader_get_u32(&r);
	get_digest(&r, h.key.manifest);
	get_digest(&r, h.key.qemu);
	get_digest(&r, h.key.arguments);
	h.key.memory_bytes = reader_get_u64(&r);
	h.memory_device = reader_get_u64(&r);
	h.memory_inode = reader_get_u64(&r);
	get_digest(&r, h.memory_digest);
	h.state_bytes = reader_get_u64(&r);
	if (r.status != ERR_OK)
		return refuse(ret_why, ERR_SHORT, "is cut off");
	if (!span_equal(magic, span_of(MAGIC, MAGIC_BYTES)))
		return refuse(ret_why, ERR_FORMAT, "is not one");
	if (version != TEMPLATE_VERSION || size != TEMPLATE_HEADER_BYTES)
		return refuse(ret_why, ERR_VERSION,
			      "has another version of its format");
	if (h.key.memory_bytes < (uint64_t)MEMORY_MIN_MIB << 20 ||
	    h.key.memory_bytes > (uint64_t)MEMORY_MAX_MIB << 20)
		return refuse(ret_why, ERR_RANGE,
			      "states an impossible memory size");
	if (h.state_bytes == 0 || h.state_bytes != reader_left(&r))
		return refuse(ret_why, ERR_SHORT,
			      "has another length than it states");
	*ret_header = h;
	return ERR_OK;
}

/**
 * template_key_differs() - Whether a VM can go on from a template
 * @made:	What the template was made with
 * @wanted:	What the VM has
 *
 * Return: NULL when it can, else what differs.
 */
const char *template_key_differs(const struct template_key *made,
				 const struct template_key *wanted)
{
	if (!digest_equal(made->manifest, wanted->manifest))
		return "another image";
	if (!digest_equal(made->qemu, wanted->qemu))
		return "another QEMU program";
	if (made->memory_bytes != wanted->memory_bytes)
		return "another memory size";
	if (!digest_equal(made->arguments, wanted->arguments))
		return "other arguments for QEMU";
	return NULL;
}

/* Where the data lie counts, too: a moved page is another memory. */
static enum err hash_memory(const uint8_t *at, uint64_t size_bytes, int fd,
			    uint8_t ret_digest[DIGEST_BYTES],
			    uint64_t *ret_used_bytes)
{
	struct memory_extent extent = {0};
	uint64_t used = 0;
	struct digest *d;
	struct buf head;
	enum err e = digest_new(&d);

	if (e != ERR_OK)
		return e;
	buf_init(&head, 16);
	while (e == ERR_OK && memory_next_data(fd, size_bytes, &extent)) {
		buf_reset(&head);
		e = buf_put_u64(&head, extent.from_bytes);
		if (e == ERR_OK)
			e = buf_put_u64(&head, extent.to_bytes);
		if (e != ERR_OK)
			break;
		digest_update(d, buf_span(&head));
		digest_update(d, span_of(at + extent.from_bytes,
					 extent.to_bytes - extent.from_bytes));
		used += extent.to_bytes - extent.from_bytes;
	}
	digest_finish(d, ret_digest);
	digest_free(d);
	buf_fini(&head);
	*ret_used_bytes = used;
	return e;
}

/* Seal first: what is hashed then cannot change any more. */
static enum err seal_memory(int fd, struct template_header *h,
			    uint64_t *ret_used_bytes)
{
	struct stat st;
	void *at;
	enum err e;

	if (fcntl(fd, F_ADD_SEALS,
		  F_SEAL_WRITE | F_SEAL_GROW | F_SEAL_SHRINK | F_SEAL_SEAL) <
		    0 ||
	    fstat(fd, &st) < 0)
		return ERR_SYS;
	h->memory_device = (uint64_t)st.st_dev;
	h->memory_inode = (uint64_t)st.st_ino;
	h->key.memory_bytes = (uint64_t)st.st_size;
	at = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
	if (at == MAP_FAILED)
		return ERR_SYS;
	e = hash_memory(at, (uint64_t)st.st_size, fd, h->memory_digest,
			ret_used_bytes);
	munmap(at, (size_t)st.st_size);
	return e;
}

/**
 * template_seal() - Make a template of a guest that has been stopped
 * @memory_fd:	Its memory, mapped by nobody any more; duplicated
 * @key:	What it was made with; the memory's size is taken from the file
 * @state:	QEMU's device state
 * @ret_files:	Owned by the caller
 *
 * Return: ERR_OK; ERR_LIMIT for a state too long or empty; ERR_SYS with errno
 *	   (EBUSY while somebody still maps the memory); ERR_MEMORY.
 */
enum err template_seal(int memory_fd, const struct template_key *key,
		       struct span state, struct template_files *ret_files)
{
	struct template_header h = {.key = *key,
				    .state_bytes = state.len_bytes};
	struct template_files files = {.memory_fd = -1, .state_fd = -1};
	struct buf file;
	enum err e;

	if (state.len_bytes == 0 || state.len_bytes > TEMPLATE_STATE_MAX_BYTES)
		return ERR_LIMIT;
	buf_init(&file, TEMPLATE_HEADER_BYTES + TEMPLATE_STATE_MAX_BYTES);
	e = seal_memory(memory_fd, &h, &files.memory_used_bytes);
	if (e == ERR_OK)
		e = template_header_put(&h, &file);
	if (e == ERR_OK)
		e = buf_put_span(&file, state);
	if (e != ERR_OK)
		goto out;
	digest_sha256(buf_span(&file), files.digest);
	e = memfd_from_span("kenaz-template-state", buf_span(&file),
			    &files.state_fd);
	if (e != ERR_OK)
		goto out;
	files.memory_fd = fcntl(memory_fd, F_DUPFD_CLOEXEC, 0);
	if (files.memory_fd < 0)
		e = ERR_SYS;
out:
	buf_fini(&file);
	if (e == ERR_OK)
		*ret_files = files;
	else if (files.state_fd >= 0)
		close(files.state_fd);
	return e;
}

static enum err say(struct buf *reason, enum err e, const char *what,
		    const char *why)
{
	return buf_printf(reason,
			  "the template cannot be used: %s%s; make a new one",
			  what, why) == ERR_OK
		       ? e
		       : ERR_MEMORY;
}

static enum err check_memory(int fd, const struct template_header *h,
			     struct buf *reason)
{
	size_t size_bytes;
	struct stat st;
	enum err e = memfd_check(fd, SIZE_MAX, &size_bytes);

	if (e != ERR_OK)
		return say(reason, e,
			   "its memory is not sealed against writing", "");
	if (fstat(fd, &st) < 0)
		return ERR_SYS;
	if (h->memory_device != (uint64_t)st.st_dev ||
	    h->memory_inode != (uint64_t)st.st_ino ||
	    h->key.memory_bytes != size_bytes)
		return say(reason, ERR_INTEGRITY,
			   "its memory is not the one its state belongs to",
			   "");
	return ERR_OK;
}

/**
 * template_open() - Check a template and view its device state
 * @memory_fd:		Borrowed
 * @state_fd:		Borrowed
 * @digest:		What its state file must have
 * @wanted:		What the VM has
 * @ret_template:	template_close() when done, also after a failure
 * @reason:		A sentence when refused
 *
 * Return: ERR_OK; ERR_INTEGRITY; ERR_VERSION; ERR_FORMAT; ERR_SHORT;
 *	   ERR_LIMIT; ERR_RANGE; ERR_SYS; ERR_MEMORY.
 */
enum err template_open(int memory_fd, int state_fd,
		       const uint8_t digest[DIGEST_BYTES],
		       const struct template_key *wanted,
		       struct template *ret_template, struct buf *reason)
{
	uint8_t found[DIGEST_BYTES];
	const char *why = NULL;
	struct template t = {0};
	size_t size_bytes;
	enum err e;

	*ret_template = t;
	e = memfd_check(state_fd,
			TEMPLATE_HEADER_BYTES + TEMPLATE_STATE_MAX_BYTES,
			&size_bytes);
	if (e == ERR_LIMIT)
		return say(reason, e, "its state file is too long", "");
	if (e != ERR_OK)
		return say(reason, e, "its state file is not sealed", "");
	e = body_open(span_of(NULL, 0), state_fd, size_bytes, size_bytes,
		      &t.file);
	if (e != ERR_OK)
		return e;
	*ret_template = t;
	digest_sha256(t.file.bytes, found);
	if (!digest_equal(found, digest))
		return say(reason, ERR_INTEGRITY,
			   "its state file is not the one that was made", "");
	e = template_header_get(t.file.bytes, &t.header, &why);
	if (e != ERR_OK)
		return say(reason, e, "its state file ", why);
	why = template_key_differs(&t.header.key, wanted);
	if (why)
		return say(reason, ERR_INTEGRITY, "it was made with ", why);
	e = check_memory(memory_fd, &t.header, reason);
	if (e != ERR_OK)
		return e;
	t.state = span_of(t.file.bytes.data + TEMPLATE_HEADER_BYTES,
			  (size_t)t.header.state_bytes);
	*ret_template = t;
	return ERR_OK;
}

/** template_close() - Release the view; a zeroed one is accepted */
void template_close(struct template *t)
{
	body_close(&t->file);
	*t = (struct template){0};
}
