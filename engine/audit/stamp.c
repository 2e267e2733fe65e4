/* SPDX-License-Identifier: Apache-2.0 */
/*
 * stamp.c - RFC 3339 times in UTC and ULIDs, as events carry them
 *
 * Runs in: kenaz-audit, kenaz-verify.
 * Trusts:  nothing.
 * Never:   accepts a second spelling of the same instant.
 *
 * Times are RFC 3339 with exactly six digits of fraction and 'Z'. A ULID is
 * 48 bits of Unix milliseconds and 80 random bits in Crockford's base 32
 * (https://github.com/ulid/spec), upper case.
 */
#include "engine/audit/stamp.h"

#include <stdio.h>
#include <string.h>

#define US_PER_S     1000000
#define S_PER_DAY    86400
#define ULID_MS_BITS 48
#define YEAR_FIRST   1970
#define YEAR_LAST    9999

static const char crockford[] = "0123456789ABCDEFGHJKMNPQRSTVWXYZ";

/* Days since 1970-01-01 of a Gregorian date. */
static int64_t days_of(int64_t year, int64_t month, int64_t day)
{
	int64_t y = month <= 2 ? year - 1 : year;
	int64_t era = y / 400, yoe = y - era * 400;
	int64_t doy = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;

	return era * 146097 + yoe * 365 + yoe / 4 - yoe / 100 + doy - 719468;
}

static void date_of(int64_t days, int *ret_year, int *ret_month, int *ret_day)
{
	int64_t z = days + 719468, era = z / 146097, doe = z - era * 146097;
	int64_t yoe = (doe - doe / 1460 + doe / 36524 - doe / 146096) / 365;
	int64_t doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
	int64_t mp = (5 * doy + 2) / 153;
	int64_t month = mp < 10 ? mp + 3 : mp - 9;

	*ret_day = (int)(doy - (153 * mp + 2) / 5 + 1);
	*ret_month = (int)month;
	*ret_year = (int)(yoe + era * 400 + (month <= 2 ? 1 : 0));
}

static void put_digits(char *at, size_t count, int64_t value)
{
	while (count--) {
		at[count] = (char)('0' + value % 10);
		value /= 10;
	}
}

/**
 * stamp_time() - Write an instant as RFC 3339, UTC, microseconds
 * @wall_us:	Microseconds since 1970
 * @ret_text:	NUL-terminated; written on success
 *
 * Return: ERR_OK; ERR_RANGE before 1970 or after 9999.
 */
enum err stamp_time(int64_t wall_us, char ret_text[STAMP_TIME_BYTES + 1])
{
	int64_t s = wall_us / US_PER_S, in_day = s % S_PER_DAY;
	int year, month, day;

	if (wall_us < 0 || s / S_PER_DAY >= days_of(YEAR_LAST + 1, 1, 1))
		return ERR_RANGE;
	date_of(s / S_PER_DAY, &year, &month, &day);
	memcpy(ret_text, "0000-00-00T00:00:00.000000Z", STAMP_TIME_BYTES + 1);
	put_digits(ret_text, 4, year);
	put_digits(ret_text + 5, 2, month);
	put_digits(ret_text + 8, 2, day);
	put_digits(ret_text + 11, 2, in_day / 3600);
	put_digits(ret_text + 14, 2, in_day / 60 % 60);
	put_digits(ret_text + 17, 2, in_day % 60);
	put_digits(ret_text + 20, 6, wall_us % US_PER_S);
	return ERR_OK;
}

static bool digits_at(struct span s, size_t at, size_t count, int64_t least,
		      int64_t most, int64_t *ret_value)
{
	int64_t v = 0;
	size_t i;

	for (i = at; i < at + count; i++) {
		if (s.data[i] < '0' || s.data[i] > '9')
			return false;
		v = v * 10 + (s.data[i] - '0');
	}
	*ret_value = v;
	return v >= least && v <= most;
}

/**
 * stamp_parse_time() - Read what stamp_time() writes, and nothing else
 * @text:		Borrowed
 * @ret_wall_us:	Microseconds since 1970; written on success
 *
 * Return: ERR_OK; ERR_FORMAT.
 */
enum err stamp_parse_time(struct span text, int64_t *ret_wall_us)
{
	static const char shape[] = "0000-00-00T00:00:00.000000Z";
	static const int month_days[] = {31, 28, 31, 30, 31, 30,
					 31, 31, 30, 31, 30, 31};
	int64_t year, month, day, hour, minute, second, us;
	bool leap;
	size_t i;

	if (text.len_bytes != STAMP_TIME_BYTES)
		return ERR_FORMAT;
	for (i = 0; i < STAMP_TIME_BYTES; i++)
		if (shape[i] != '0' && text.data[i] != (uint8_t)shape[i])
			return ERR_FORMAT;
	if (!digits_at(text, 0, 4, YEAR_FIRST, YEAR_LAST, &year) ||
	    !digits_at(text, 5, 2, 1, 12, &month) ||
	    !digits_at(text, 8, 2, 1, 31, &day) ||
	    !digits_at(text, 11, 2, 0, 23, &hour) ||
	    !digits_at(text, 14, 2, 0, 59, &minute) ||
	    !digits_at(text, 17, 2, 0, 59, &second) ||
	    !digits_at(text, 20, 6, 0, US_PER_S - 1, &us))
		return ERR_FORMAT;
	leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
	if (day > month_days[month - 1] + (month == 2 && leap ? 1 : 0))
		return ERR_FORMAT;
	*ret_wall_us =
		(((days_of(year, month, day) * 24 + hour) * 60 + minute) * 60 +
		 second) *
			US_PER_S +
		us;
	return ERR_OK;
}

/**
 * stamp_ulid() - Make a ULID
 * @wall_us:	Microseconds since 1970
 * @random:	Its 80 random bits
 * @ret_text:	NUL-terminated; written on success
 *
 * Return: ERR_OK; ERR_RANGE when the time does not fit 48 bits of ms.
 */
enum err stamp_ulid(int64_t wall_us, const uint8_t random[STAMP_RANDOM_BYTES],
		    char ret_text[STAMP_ULID_BYTES + 1])
{
	uint64_t ms = (uint64_t)wall_us / 1000, high = 0, low = 0;
	size_t i;

	if (wall_us < 0 || ms >> ULID_MS_BITS)
		return ERR_RANGE;
	for (i = 0; i < 5; i++) {
		high = high << 8 | random[i];
		low = low << 8 | random[5 + i];
	}
	for (i = 0; i < 10; i++)
		ret_text[i] = crockford[ms >> (45 - 5 * i) & 31];
	for (i = 0; i < 8; i++) {
		ret_text[10 + i] = crockford[high >> (35 - 5 * i) & 31];
		ret_text[18 + i] = crockford[low >> (35 - 5 * i) & 31];
	}
	ret_text[STAMP_ULID_BYTES] = '\0';
	return ERR_OK;
}

/**
 * stamp_parse_ulid() - Check a ULID and read its time
 * @text:		Borrowed
 * @ret_wall_ms:	Milliseconds since 1970; written on success
 *
 * Return: ERR_OK; ERR_FORMAT, also for lower case.
 */
enum err stamp_parse_ulid(struct span text, uint64_t *ret_wall_ms)
{
	uint64_t ms = 0;
	size_t i;

	if (text.len_bytes != STAMP_ULID_BYTES || text.data[0] > '7')
		return ERR_FORMAT;
	for (i = 0; i < STAMP_ULID_BYTES; i++) {
		const char *at =
			text.data[i] ? strchr(crockford, text.data[i]) : NULL;

		if (!at)
			return ERR_FORMAT;
		if (i < 10)
			ms = ms << 5 | (uint64_t)(at - crockford);
	}
	*ret_wall_ms = ms;
	return ERR_OK;
}
