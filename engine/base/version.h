/* SPDX-License-Identifier: Apache-2.0 */
/* version.h - what every program of Kenaz calls itself */
#ifndef KENAZ_BASE_VERSION_H
#define KENAZ_BASE_VERSION_H

#define KENAZ_VERSION "0.1.0"

#endif
