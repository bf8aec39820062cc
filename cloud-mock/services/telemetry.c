/* telemetry.c: what a processor needs of a message: who sent it, its number, when it was meant. Reads the payload's head only. */
#include "cloud/services.h"

/* Finds what stands for '%' in a topic made from the template. */
static bool thing_in_topic(const char *template, struct span topic, struct span *thing)
{
    const char *mark = strchr(template, '%');
    if (!mark)
        return false;
    size_t head = (size_t)(mark - template), tail = strlen(mark + 1);
    if (topic.length <= head + tail || memcmp(topic.data, template, head) != 0 ||
        memcmp(topic.data + topic.length - tail, mark + 1, tail) != 0)
        return false;
    *thing = span_of(topic.data + head, topic.length - head - tail);
    return true;
}

static bool take_text(struct span *rest, const char *text)
{
    size_t length = strlen(text);
    if (rest->length < length || memcmp(rest->data, text, length) != 0)
        return false;
    rest->data += length;
    rest->length -= (uint32_t)length;
    return true;
}

static bool take_span(struct span *rest, struct span text)
{
    if (rest->length < text.length || memcmp(rest->data, text.data, text.length) != 0)
        return false;
    rest->data += text.length;
    rest->length -= text.length;
    return true;
}

static bool take_number(struct span *rest, uint64_t *value)
{
    uint32_t digits = 0;
    *value = 0;
    while (digits < rest->length && digits < 19 && rest->data[digits] >= '0' && rest->data[digits] <= '9')
        *value = *value * 10 + (uint64_t)(rest->data[digits++] - '0');
    rest->data += digits;
    rest->length -= digits;
    return digits > 0;
}

bool cloud_telemetry_read(const char *topic_template, const struct mq5_publish *message, struct cloud_telemetry *out)
{
    if (!thing_in_topic(topic_template, message->topic, &out->thing))
        return false;
    struct span rest = message->payload;
    uint64_t number = 0, wall_us = 0;
    out->payload_bytes = rest.length;
    out->valid = take_text(&rest, "{\"id\":\"") && take_span(&rest, out->thing) && take_text(&rest, "\",\"n\":") &&
                 take_number(&rest, &number) && take_text(&rest, ",\"ts\":") && take_number(&rest, &wall_us) &&
                 number <= UINT32_MAX;
    out->number = (uint32_t)number;
    out->wall_us = (int64_t)wall_us;
    return true;
}
