/* reasons.c: which reason code may stand in which packet, from which side (the tables of chapter 3).
 *
 * 0x8C stands in table 2-6 for DISCONNECT but not in 3.14.2.1's own table: it is let through from a server.
 */
#include "wire.h"

/* One bit a code: low for 0x00..0x3F, high for 0x80..0xBF; no code lies elsewhere. */
struct reason_set {
    uint64_t low, high;
};

#define LOW(code)       (UINT64_C(1) << (code))
#define HIGH(code)      (UINT64_C(1) << ((code)-0x80))
#define COMMON_ERRORS   (HIGH(0x80) | HIGH(0x83) | HIGH(0x87))
#define RANGE(from, to) ((HIGH(to) - HIGH(from)) | HIGH(to))

static const struct reason_set published = {LOW(0x00) | LOW(0x10),
                                            COMMON_ERRORS | HIGH(0x90) | HIGH(0x91) | HIGH(0x97) | HIGH(0x99)};
static const struct reason_set released = {LOW(0x00), HIGH(0x92)};
static const struct reason_set connected = {LOW(0x00), RANGE(0x80, 0x8A) | HIGH(0x8C) | HIGH(0x90) | HIGH(0x95) |
                                                           HIGH(0x97) | RANGE(0x99, 0x9D) | HIGH(0x9F)};
static const struct reason_set subscribed = {LOW(0) | LOW(1) | LOW(2), COMMON_ERRORS | HIGH(0x8F) | HIGH(0x91) |
                                                                           HIGH(0x97) | HIGH(0x9E) | HIGH(0xA1) |
                                                                           HIGH(0xA2)};
static const struct reason_set unsubscribed = {LOW(0x00) | LOW(0x11), COMMON_ERRORS | HIGH(0x8F) | HIGH(0x91)};
static const struct reason_set client_leaves = {LOW(0x00) | LOW(0x04),
                                                RANGE(0x80, 0x83) | HIGH(0x90) | RANGE(0x93, 0x99)};
static const struct reason_set server_leaves = {LOW(0x00), RANGE(0x80, 0x83) | HIGH(0x87) | HIGH(0x89) | HIGH(0x8B) |
                                                               RANGE(0x8C, 0x90) | RANGE(0x93, 0xA2)};
static const struct reason_set client_authenticates = {LOW(0x18) | LOW(0x19), 0};
static const struct reason_set server_authenticates = {LOW(0x00) | LOW(0x18), 0};

static bool has(const struct reason_set *set, uint8_t reason)
{
    return (reason < 0x40 && (set->low >> reason & 1)) ||
           (reason >= 0x80 && reason < 0xC0 && (set->high >> (reason - 0x80) & 1));
}

bool mq5_reason_allowed(uint8_t type, uint8_t reason, enum mq5_sender sender)
{
    switch (type) {
    case MQ5_CONNACK: return (sender & MQ5_FROM_SERVER) && has(&connected, reason);
    case MQ5_PUBACK:
    case MQ5_PUBREC: return has(&published, reason);
    case MQ5_PUBREL:
    case MQ5_PUBCOMP: return has(&released, reason);
    case MQ5_SUBACK: return (sender & MQ5_FROM_SERVER) && has(&subscribed, reason);
    case MQ5_UNSUBACK: return (sender & MQ5_FROM_SERVER) && has(&unsubscribed, reason);
    case MQ5_DISCONNECT:
        return ((sender & MQ5_FROM_CLIENT) && has(&client_leaves, reason)) ||
               ((sender & MQ5_FROM_SERVER) && has(&server_leaves, reason));
    case MQ5_AUTH:
        return ((sender & MQ5_FROM_CLIENT) && has(&client_authenticates, reason)) ||
               ((sender & MQ5_FROM_SERVER) && has(&server_authenticates, reason));
    default: return false;
    }
}
