/* SPDX-License-Identifier: Apache-2.0 */
/*
 * anchor.c - the latest checkpoint, kept outside the database
 *
 * Runs in: kenaz-audit; parsing also in kenaz-verify.
 * Trusts:  that whoever rolls the log back cannot also write here.
 * Never:   is written before the checkpoint is committed.
 */
#include "engine/audit/anchor.h"

#include "engine/audit/files.h"

/**
 * anchor_write() - Replace the anchor, atomically and durably
 * @dir_fd:	Anchor directory, borrowed
 * @note:	Signed checkpoint, borrowed
 *
 * Return: ERR_OK; ERR_SYS with errno.
 */
enum err anchor_write(int dir_fd, struct span note)
{
	return files_replace(dir_fd, ANCHOR_FILE, note);
}

/**
 * anchor_parse() - Read a checkpoint whose signature is checked elsewhere
 * @note:		Borrowed
 * @ret_checkpoint:	Written on success
 *
 * Return: ERR_OK; ERR_FORMAT.
 */
enum err anchor_parse(struct span note, struct checkpoint *ret_checkpoint)
{
	struct span text;
	enum err e = note_text(note, &text);

	return e == ERR_OK ? checkpoint_read(text, ret_checkpoint) : e;
}

/**
 * anchor_read() - Read the anchor
 * @dir_fd:		Anchor directory, borrowed
 * @ret_note:		Buffer appended to
 * @ret_checkpoint:	Written on success
 *
 * Return: ERR_OK; ERR_NOT_FOUND; ERR_FORMAT; ERR_LIMIT; ERR_SYS.
 */
enum err anchor_read(int dir_fd, struct buf *ret_note,
		     struct checkpoint *ret_checkpoint)
{
	enum err e = files_read(dir_fd, ANCHOR_FILE, false, ret_note);

	return e == ERR_OK ? anchor_parse(buf_span(ret_note), ret_checkpoint)
			   : e;
}
