/* cloud/scram.h: SCRAM-SHA-256 (RFC 5802, RFC 7677) as a method of MQTT's enhanced authentication, by libgsasl.
 *
 * Who knows a password shows it without sending it, and is shown that the server knows it, too. Without channel binding. Keys are derived from a
 * password when its user first comes (some milliseconds), then it is forgotten. One thread; no time.
 */
#ifndef CLOUD_SCRAM_H
#define CLOUD_SCRAM_H

#include "cloud/broker.h"

#define CLOUD_SCRAM_METHOD "SCRAM-SHA-256"

struct cloud_scram;                                  /* users */
struct cloud_scram *cloud_scram_create(void);        /* NULL: no memory */
void cloud_scram_destroy(struct cloud_scram *scram); /* after all exchanges; NULL is nothing */
/* NULL: done; else why not. */
const char *cloud_scram_add(struct cloud_scram *scram, const char *user, const char *password);
/* Lines "user:password"; empty ones and those that begin with # are none. false: *error one line. */
bool cloud_scram_read(struct cloud_scram *scram, const char *path, char *error, size_t error_capacity);

struct cloud_scram_exchange; /* of one link */
/* What a broker's authenticate() answers. *exchange is kept by whoever keeps the link: NULL at first, and NULL again when it is over. */
struct cloud_authentication cloud_scram_step(struct cloud_scram *scram, struct cloud_scram_exchange **exchange,
                                             enum cloud_authentication_step step, struct span method, struct span data);

#endif
