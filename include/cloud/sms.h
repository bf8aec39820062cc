/* cloud/sms.h: an SMS gateway and the store-and-forward network behind it: the shoulder tap's way to a sleeping TCU.
 *
 * A message is submitted, waits its latency, and is tried: the network finds the device, finds it absent and tries again on its schedule, or
 * loses the message without a word. Tells of delivery only what a real gateway would: a status report, when one was asked for and is not lost itself.
 * Pure: time and chance come in. Sources: cloud-contract 13.4 (figures), 3GPP TS 23.040 (validity, status reports, 140 octets).
 */
#ifndef CLOUD_SMS_H
#define CLOUD_SMS_H

#include "base.h"

#define CLOUD_SMS_BYTES 140

enum cloud_sms_attempt {
    CLOUD_SMS_TAKEN,  /* the device has it */
    CLOUD_SMS_ABSENT, /* no coverage, no power, or not listening now: tried again */
};
enum cloud_sms_end { CLOUD_SMS_DELIVERED, CLOUD_SMS_EXPIRED, CLOUD_SMS_LOST };

struct cloud_sms_options {
    /* Draws, from the owner's stream: latency of an attempt in microseconds; a number below 1,000,000 for shares. */
    int64_t (*latency_us)(void *context);
    uint32_t (*chance)(void *context);
    uint32_t loss_ppm;      /* of messages: lost for good, decided at submission, no report; and of reports */
    uint32_t duplicate_ppm; /* of deliveries: given to the device twice, a latency apart */
    int64_t retry_us
        [6]; /* waits after the 1st, 2nd ... failed attempt; the last repeats; 0 ends the list; all 0: the standard schedule */
    int64_t validity_us;      /* from submission; 0: 24 h */
    uint32_t waiting_maximum; /* messages; 0: 1,000,000; submit says no beyond */
    /* The device's end, at the moment of the attempt; may call the gateway (but not destroy it). text: as submitted. */
    enum cloud_sms_attempt (*deliver)(void *context, int64_t now_us, struct span thing, struct span text);
    /* Status report to the sender; not called for LOST. May be NULL. */
    void (*report)(void *context, int64_t now_us, uint64_t token, enum cloud_sms_end end, int64_t submitted_us);
    void *context;
};

struct cloud_sms; /* begins with struct cloud_due (cloud/services.h) */
struct cloud_sms *cloud_sms_create(const struct cloud_sms_options *options); /* NULL: out of memory */
void cloud_sms_destroy(struct cloud_sms *sms);
/* text: at most CLOUD_SMS_BYTES. false: too long, too many waiting, or out of memory: nothing was sent. */
bool cloud_sms_submit(struct cloud_sms *sms, int64_t now_us, struct span thing, struct span text, uint64_t token);
/* The network sees the device again (attached, or out of a hole): what has found it absent is tried at once, as an alerted service centre does: the
 * deadline becomes now, the next tick tries. What is still on its first way is not faster for it, nor what has been tried at this very moment. */
void cloud_sms_attached(struct cloud_sms *sms, int64_t now_us, struct span thing);
int64_t cloud_sms_next_deadline(const struct cloud_sms *sms);
void cloud_sms_tick(struct cloud_sms *sms, int64_t now_us);
struct cloud_sms_counts {
    uint64_t submitted, attempts, delivered, duplicated, expired, lost, waiting;
};
void cloud_sms_count(const struct cloud_sms *sms, struct cloud_sms_counts *out);
uint64_t cloud_sms_bytes(const struct cloud_sms *sms);

#endif
