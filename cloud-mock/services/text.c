/* text.c: writing and reading the small JSON of events and answers, without allocating: a fleet of millions passes through here. */
#include "services_internal.h"

void services_put_span(struct services_text *text, struct span span)
{
    if (span.length > text->capacity - text->at) {
        text->full = true;
        return;
    }
    if (span.length)
        memcpy(text->out + text->at, span.data, span.length);
    text->at += span.length;
}

void services_put(struct services_text *text, const char *literal)
{
    services_put_span(text, span_text(literal));
}

void services_put_hex(struct services_text *text, const uint8_t *bytes, size_t length)
{
    for (size_t i = 0; i < length; i++) {
        char two[2] = {"0123456789abcdef"[bytes[i] >> 4], "0123456789abcdef"[bytes[i] & 15]};
        services_put_span(text, span_of(two, 2));
    }
}

void services_put_json(struct services_text *text, struct span span)
{
    services_put(text, "\"");
    for (uint32_t i = 0; i < span.length; i++) {
        uint8_t c = span.data[i];
        if (c == '"' || c == '\\')
            services_put(text, "\\");
        if (c >= 0x20) {
            services_put_span(text, span_of(&c, 1));
            continue;
        }
        services_put(text, "\\u00");
        services_put_hex(text, &c, 1);
    }
    services_put(text, "\"");
}

void services_put_number(struct services_text *text, int64_t number)
{
    char digits[21];
    size_t at = sizeof(digits);
    uint64_t rest = number < 0 ? 0 - (uint64_t)number : (uint64_t)number;
    do {
        digits[--at] = (char)('0' + rest % 10);
        rest /= 10;
    } while (rest);
    if (number < 0)
        digits[--at] = '-';
    services_put_span(text, span_of(digits + at, sizeof(digits) - at));
}

bool services_match_template(const char *pattern, struct span topic, struct span *thing)
{
    const char *hole = strchr(pattern, '%');
    size_t before = hole ? (size_t)(hole - pattern) : strlen(pattern), after = hole ? strlen(hole + 1) : 0;
    *thing = (struct span){0};
    if (!hole)
        return span_equal(topic, span_text(pattern));
    if (topic.length <= before + after || memcmp(topic.data, pattern, before) != 0 ||
        memcmp(topic.data + topic.length - after, hole + 1, after) != 0)
        return false;
    *thing = span_of(topic.data + before, topic.length - before - after);
    return memchr(thing->data, '/', thing->length) == NULL;
}

/* Past a string that begins at `at` (behind its opening quote): its closing quote, or the end. */
static uint32_t string_end(struct span json, uint32_t at)
{
    while (at < json.length && json.data[at] != '"')
        at += json.data[at] == '\\' ? 2 : 1;
    return at < json.length ? at : json.length;
}

static bool is_space(uint8_t c)
{
    return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

bool services_member(struct span json, const char *name, struct span *out)
{
    size_t name_length = strlen(name);
    uint32_t depth = 0;
    for (uint32_t i = 0; i < json.length; i++) {
        uint8_t c = json.data[i];
        if (c == '{' || c == '[')
            depth++;
        else if (c == '}' || c == ']')
            depth--;
        if (c != '"')
            continue;
        uint32_t begin = i + 1, end = string_end(json, begin);
        i = end;
        uint32_t at = end + 1;
        while (at < json.length && is_space(json.data[at]))
            at++;
        if (depth != 1 || at >= json.length || json.data[at] != ':' || end - begin != name_length || memcmp(json.data + begin, name, name_length) != 0)
            continue;
        at++;
        while (at < json.length && is_space(json.data[at]))
            at++;
        if (at < json.length && json.data[at] == '"') {
            end = string_end(json, at + 1);
            *out = span_of(json.data + at + 1, end - at - 1);
            return end < json.length;
        }
        for (end = at; end < json.length && !strchr(",}] \t\r\n", json.data[end]);)
            end++;
        *out = span_of(json.data + at, end - at);
        return end > at && end < json.length;
    }
    return false;
}
