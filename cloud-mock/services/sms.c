/* sms.c: messages on their way to devices: latency, absence, a schedule of further attempts, loss, repetition.
 *
 * A message lies in a list of its hash bucket (cloud_sms_attached() looks there) and has one valid entry in the heap by due time. An entry whose
 * message has another due time is stale: a message is freed when it has ended and its last entry has come up. Loss is decided at submission:
 * the message leaves nothing behind. Not modelled: order of messages to one device, alphabets, several parts, the way of the status report.
 */
#include "cloud/sms.h"

#include "cloud/services.h"
#include "due.h"
#include "memory.h"

#define BUCKETS_AT_FIRST 8
#define MILLION          1000000
#define RETRIES          6

static const int64_t standard_retry_us[RETRIES] = {US_PER_MIN,      5 * US_PER_MIN, 15 * US_PER_MIN,
                                                   30 * US_PER_MIN, US_PER_HOUR,    3 * US_PER_HOUR};

enum stage {
    STAGE_SENT,   /* its first attempt comes a latency after submission */
    STAGE_TRYING, /* in deliver() */
    STAGE_ABSENT, /* waits for its schedule, or for the device */
    STAGE_AGAIN,  /* delivered, and given to the device once more */
    STAGE_ENDED,
};

struct message {
    struct message *next; /* in its bucket */
    uint64_t number, token, hash;
    int64_t submitted_us, expires_us, due_us, tried_us;
    uint32_t attempts, entries; /* failed ones; in the heap */
    uint8_t stage, thing_length, text_length;
    uint8_t bytes[]; /* thing, text */
};

struct cloud_sms {
    struct cloud_due due; /* first, for cloud_sms_next_deadline() */
    struct cloud_sms_options options;
    struct cloud_sms_counts counts;
    uint64_t numbers, bytes;
    struct message **buckets;
    uint32_t bucket_count, chained;
    struct due_heap heap;
};

/* ---- things -------------------------------------------------------------------------------------------------------- */

static uint64_t hash_of(struct span thing)
{
    uint64_t hash = UINT64_C(0xCBF29CE484222325);
    for (uint32_t i = 0; i < thing.length; i++)
        hash = (hash ^ thing.data[i]) * UINT64_C(0x100000001B3);
    return hash ^ hash >> 32;
}

static struct message **bucket_of(const struct cloud_sms *sms, uint64_t hash)
{
    return &sms->buckets[hash & (sms->bucket_count - 1)];
}

static void chain(struct cloud_sms *sms, struct message *message)
{
    struct message **bucket = bucket_of(sms, message->hash);
    message->next = *bucket;
    *bucket = message;
}

static void unchain(struct cloud_sms *sms, struct message *message)
{
    struct message **at = bucket_of(sms, message->hash);
    while (*at != message)
        at = &(*at)->next;
    *at = message->next;
    sms->chained--;
}

/* Longer chains are no error: when there is no memory they stay as they are. */
static void widen(struct cloud_sms *sms)
{
    struct message **old = sms->buckets;
    uint32_t count = sms->bucket_count;
    struct message **buckets = memory_allocate_zero((size_t)count * 2, sizeof(struct message *));
    if (!buckets)
        return;
    sms->buckets = buckets;
    sms->bucket_count = count * 2;
    for (uint32_t i = 0; i < count; i++)
        for (struct message *m = old[i], *next; m; m = next) {
            next = m->next;
            chain(sms, m);
        }
    memory_free(old);
}

static struct span thing_of(const struct message *message)
{
    return span_of(message->bytes, message->thing_length);
}

static size_t size_of(const struct message *message)
{
    return sizeof *message + message->thing_length + message->text_length;
}

/* ---- time ---------------------------------------------------------------------------------------------------------- */

/* false: no memory for the entry; the message keeps the due time it had. */
static bool wait_until(struct cloud_sms *sms, struct message *message, int64_t at_us)
{
    if (!due_push(&sms->heap, (struct due_entry){.at_us = at_us, .order = message->number, .item = message}))
        return false;
    message->due_us = at_us;
    message->entries++;
    sms->due.next_us = due_next_us(&sms->heap);
    return true;
}

static void release(struct cloud_sms *sms, struct message *message)
{
    if (message->stage != STAGE_ENDED || message->entries)
        return;
    sms->bytes -= size_of(message);
    memory_free(message);
}

/* It waits no longer; a report goes back. May leave the message for a stale entry to free. */
static void finish(struct cloud_sms *sms, int64_t now_us, struct message *message, enum cloud_sms_end end)
{
    unchain(sms, message);
    sms->counts.waiting--;
    bool expired = end == CLOUD_SMS_EXPIRED;
    sms->counts.expired += expired;
    bool reported = sms->options.report && end != CLOUD_SMS_LOST &&
                    (!sms->options.loss_ppm || sms->options.chance(sms->options.context) >= sms->options.loss_ppm);
    if (reported)
        sms->options.report(sms->options.context, now_us, message->token, end, message->submitted_us);
}

static int64_t retry_us(const struct cloud_sms *sms, uint32_t failed)
{
    const int64_t *list = sms->options.retry_us[0] ? sms->options.retry_us : standard_retry_us;
    uint32_t last = 0;
    while (last + 1 < RETRIES && last + 1 < failed && list[last + 1])
        last++;
    return list[last];
}

static enum cloud_sms_attempt deliver(struct cloud_sms *sms, int64_t now_us, const struct message *message)
{
    sms->counts.attempts++;
    return sms->options.deliver(sms->options.context, now_us, thing_of(message),
                                span_of(message->bytes + message->thing_length, message->text_length));
}

static void taken(struct cloud_sms *sms, int64_t now_us, struct message *message)
{
    const struct cloud_sms_options *options = &sms->options;
    bool again = options->duplicate_ppm && options->chance(options->context) < options->duplicate_ppm &&
                 wait_until(sms, message, now_us + options->latency_us(options->context));
    message->stage = again ? STAGE_AGAIN : STAGE_ENDED;
    sms->counts.delivered++;
    finish(sms, now_us, message, CLOUD_SMS_DELIVERED);
}

static void absent(struct cloud_sms *sms, int64_t now_us, struct message *message)
{
    int64_t at_us = now_us + retry_us(sms, ++message->attempts);
    message->stage = STAGE_ABSENT;
    if (wait_until(sms, message, at_us < message->expires_us ? at_us : message->expires_us))
        return;
    message->stage = STAGE_ENDED; /* no memory to try it once more: as if the network had lost it */
    sms->counts.lost++;
    finish(sms, now_us, message, CLOUD_SMS_LOST);
}

static void attempt(struct cloud_sms *sms, int64_t now_us, struct message *message)
{
    if (message->stage == STAGE_AGAIN) {
        sms->counts.duplicated += deliver(sms, now_us, message) == CLOUD_SMS_TAKEN;
        message->stage = STAGE_ENDED;
    } else if (now_us >= message->expires_us) {
        message->stage = STAGE_ENDED;
        finish(sms, now_us, message, CLOUD_SMS_EXPIRED);
    } else {
        message->stage = STAGE_TRYING;
        message->tried_us = now_us;
        if (deliver(sms, now_us, message) == CLOUD_SMS_TAKEN)
            taken(sms, now_us, message);
        else
            absent(sms, now_us, message);
    }
}

/* ---- life ---------------------------------------------------------------------------------------------------------- */

struct cloud_sms *cloud_sms_create(const struct cloud_sms_options *options)
{
    struct cloud_sms *sms = memory_allocate_zero(1, sizeof *sms);
    if (!sms)
        return NULL;
    sms->options = *options;
    if (!sms->options.validity_us)
        sms->options.validity_us = US_PER_DAY;
    if (!sms->options.waiting_maximum)
        sms->options.waiting_maximum = MILLION;
    sms->due.next_us = TIME_NEVER;
    sms->bucket_count = BUCKETS_AT_FIRST;
    sms->buckets = memory_allocate_zero(sms->bucket_count, sizeof(struct message *));
    if (sms->buckets)
        return sms;
    memory_free(sms);
    return NULL;
}

/* Every message, ended or not, has an entry in the heap; some have several. */
void cloud_sms_destroy(struct cloud_sms *sms)
{
    for (uint32_t i = 0; i < sms->heap.count; i++) {
        struct message *message = sms->heap.entries[i].item;
        if (--message->entries == 0)
            memory_free(message);
    }
    memory_free(sms->heap.entries);
    memory_free(sms->buckets);
    memory_free(sms);
}

static struct message *make(struct cloud_sms *sms, int64_t now_us, struct span thing, struct span text, uint64_t token)
{
    struct message *message = memory_allocate(sizeof *message + thing.length + text.length);
    if (!message)
        return NULL;
    *message = (struct message){.number = sms->numbers++,
                                .token = token,
                                .hash = hash_of(thing),
                                .submitted_us = now_us,
                                .expires_us = now_us + sms->options.validity_us,
                                .thing_length = (uint8_t)thing.length,
                                .text_length = (uint8_t)text.length};
    memcpy(message->bytes, thing.data, thing.length);
    if (text.length)
        memcpy(message->bytes + thing.length, text.data, text.length);
    return message;
}

bool cloud_sms_submit(struct cloud_sms *sms, int64_t now_us, struct span thing, struct span text, uint64_t token)
{
    const struct cloud_sms_options *options = &sms->options;
    if (!thing.length || thing.length > UINT8_MAX || text.length > CLOUD_SMS_BYTES ||
        sms->counts.waiting >= options->waiting_maximum)
        return false;
    if (options->loss_ppm && options->chance(options->context) < options->loss_ppm) {
        sms->counts.submitted++;
        sms->counts.lost++;
        return true;
    }
    struct message *message = make(sms, now_us, thing, text, token);
    if (!message || !wait_until(sms, message, now_us + options->latency_us(options->context))) {
        memory_free(message);
        return false;
    }
    if (++sms->chained > sms->bucket_count)
        widen(sms);
    chain(sms, message);
    sms->bytes += size_of(message);
    sms->counts.submitted++;
    sms->counts.waiting++;
    return true;
}

/* A message that has just been tried waits: two of them, and a device that attaches in deliver(), would never come to an end. */
void cloud_sms_attached(struct cloud_sms *sms, int64_t now_us, struct span thing)
{
    if (!sms->chained)
        return;
    uint64_t hash = hash_of(thing);
    for (struct message *m = *bucket_of(sms, hash); m; m = m->next)
        if (m->hash == hash && m->stage == STAGE_ABSENT && m->due_us > now_us && m->tried_us < now_us &&
            span_equal(thing_of(m), thing))
            wait_until(sms, m, now_us); /* no memory: its schedule brings it */
}

int64_t cloud_sms_next_deadline(const struct cloud_sms *sms)
{
    return sms->due.next_us;
}

void cloud_sms_tick(struct cloud_sms *sms, int64_t now_us)
{
    while (sms->due.next_us <= now_us) {
        struct due_entry entry = due_pop(&sms->heap);
        struct message *message = entry.item;
        bool stale = message->stage == STAGE_ENDED || message->stage == STAGE_TRYING || entry.at_us != message->due_us;
        sms->due.next_us = due_next_us(&sms->heap);
        if (!stale)
            attempt(sms, now_us, message); /* its entry still counts: nobody frees it meanwhile */
        message->entries--;
        release(sms, message);
    }
}

void cloud_sms_count(const struct cloud_sms *sms, struct cloud_sms_counts *out)
{
    *out = sms->counts;
}

uint64_t cloud_sms_bytes(const struct cloud_sms *sms)
{
    return sizeof *sms + sms->bucket_count * sizeof(struct message *) + due_bytes(&sms->heap) + sms->bytes;
}
