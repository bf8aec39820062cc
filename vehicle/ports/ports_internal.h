/* ports_internal.h: what the parts of the reference TCU ask of each other.
 *
 *   tcu.c         the program: struct tcu_port, the loop, its deadlines
 *   session.c     struct tcu_mqtt on Paho MQTTAsync
 *   properties.c  MQTT 5 properties to and from Paho's
 *   store.c       what outlives a power cut, as files
 *   enroll.c      the certificate broker over libcurl
 */
#ifndef PORTS_INTERNAL_H
#define PORTS_INTERNAL_H

#include "vehicle/crypto.h"
#include "vehicle/tcu.h"

#include <MQTTAsync.h>
#include <curl/curl.h>
#include <pthread.h>

#define PORTS_PATH_MAX 512

/* ---- properties.c ---- */
/* Upper bound of the bytes ports_properties_in() copies. */
size_t ports_properties_bytes(const MQTTProperties *from);
/* Copies what belongs to a message; repeatables as the decoder leaves them. */
void ports_properties_in(struct mq5_properties *to, const MQTTProperties *from, uint8_t *copy);
/* Of a message or a will; free with MQTTProperties_free(). */
void ports_properties_out(MQTTProperties *to, const struct mq5_properties *from);
void ports_property_add(MQTTProperties *to, enum MQTTPropertyCodes identifier, uint32_t value);

/* ---- store.c ---- */
struct ports_store {
    char directory[PORTS_PATH_MAX];
    char identity_path[2][PORTS_PATH_MAX + 32]; /* a slot's certificate and key in one file: one rename changes both */
    struct {
        uint8_t bytes[TCU_KEY_MAX]; /* made, but its certificate has not come yet */
        size_t length;
    } key[2];
};
bool ports_store_open(struct ports_store *store, const char *directory, char *error, size_t error_capacity);
bool ports_store_write(struct ports_store *store, enum tcu_store_item item, struct span value);
size_t ports_store_read(struct ports_store *store, enum tcu_store_item item, int64_t now_s, uint8_t *out,
                        size_t capacity);

/* ---- enroll.c ---- */
struct ports_enroll {
    CURLM *multi;
    CURL *request; /* NULL: none under way */
    struct curl_slist *headers;
    char *body; /* base64 */
    uint8_t answer[16384];
    size_t answer_length;
    char error[CURL_ERROR_SIZE];
};
bool ports_enroll_open(struct ports_enroll *enroll);
/* Begins; what was under way is given up. false: cannot begin. */
bool ports_enroll_begin(struct ports_enroll *enroll, const struct tcu_run_options *options,
                        const struct tcu_http_request *request);
/* Goes on; true when it has ended: *status (0: no answer) and enroll->answer. */
bool ports_enroll_step(struct ports_enroll *enroll, int *status);
void ports_enroll_close(struct ports_enroll *enroll);

/* ---- session.c ---- */
enum { PORTS_OUTGOING_MAX = 16 };

struct ports_event;
/* One attempt at a connection and its client; callbacks name it, so that what belongs to an earlier one is known as such. */
struct ports_attempt {
    struct ports_session *session;
    uint32_t number;
};

struct ports_session {
    struct tcu *tcu;
    const struct tcu_run_options *options;
    const struct ports_store *store; /* whose identities are shown */
    int wake_fd;                     /* written when an event is queued */
    char uri[PORTS_PATH_MAX];
    bool tls;

    MQTTAsync client, leaving;                   /* leaving: its DISCONNECT is on the way */
    struct ports_attempt attempts[16], *attempt; /* NULL: none */
    uint32_t last_number;
    bool online;
    uint8_t peer_qos;
    uint16_t peer_receive_maximum;
    uint32_t outstanding[PORTS_OUTGOING_MAX]; /* tokens sent, whose end is not known */
    unsigned outstanding_count;
    char why[160]; /* of the last failure */

    pthread_mutex_t mutex; /* for what follows */
    struct ports_event *first, **last;
    char tls_error[160];
};
extern const struct tcu_mqtt ports_session_mqtt;
bool ports_session_open(struct ports_session *session, const struct tcu_run_options *options,
                        const struct ports_store *store, int wake_fd, char *error, size_t error_capacity);
/* Tells the agent what has happened. */
void ports_session_run(struct ports_session *session, int64_t now_us);
bool ports_session_left(const struct ports_session *session); /* no DISCONNECT is on its way any more */
void ports_session_close(struct ports_session *session);

#endif
