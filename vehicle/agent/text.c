/* text.c: the little text the agent reads and writes, bounded and without the C library's formatting.
 *
 * The scanner is not a JSON parser: it knows strings without escapes, skips every other value by its brackets, and
 * gives up on the rest. */
#include "agent_internal.h"

#include "digits.h"

static inline char *put_short(char *out, uint32_t number)
{
    return out + digits_put(out, number);
}

char *agent_text_number(char *out, int64_t number)
{
    uint64_t rest = number < 0 ? 0 - (uint64_t)number : (uint64_t)number;
    if (number < 0)
        *out++ = '-';
    if (rest < DIGITS_TEN_TO_8)
        return put_short(out, (uint32_t)rest);
    uint64_t high = rest / DIGITS_TEN_TO_8;
    if (high < DIGITS_TEN_TO_8) {
        out = put_short(out, (uint32_t)high);
    } else {
        out = put_short(out, (uint32_t)(high / DIGITS_TEN_TO_8));
        digits_put_8(out, (uint32_t)(high % DIGITS_TEN_TO_8));
        out += 8;
    }
    digits_put_8(out, (uint32_t)(rest % DIGITS_TEN_TO_8));
    return out + 8;
}

struct span agent_text_expand(const char *pattern, struct span name, char *out)
{
    size_t length = 0;
    for (; *pattern; pattern++) {
        size_t wanted = *pattern == '%' ? name.length : 1;
        if (length + wanted > AGENT_TOPIC_MAX)
            break;
        if (*pattern == '%')
            agent_text_copy(out + length, name);
        else
            out[length] = *pattern;
        length += wanted;
    }
    return span_of(out, length);
}

struct scanner {
    const uint8_t *at, *end;
};

static bool scan_space(struct scanner *scanner)
{
    while (scanner->at < scanner->end && (*scanner->at == ' ' || (*scanner->at >= '\t' && *scanner->at <= '\r')))
        scanner->at++;
    return scanner->at < scanner->end;
}

static bool scan_byte(struct scanner *scanner, char byte)
{
    if (!scan_space(scanner) || *scanner->at != (uint8_t)byte)
        return false;
    scanner->at++;
    return true;
}

/* A whole string; *plain tells whether it has no escapes, so that its bytes are its value. */
static bool scan_string(struct scanner *scanner, struct span *out, bool *plain)
{
    if (!scan_byte(scanner, '"'))
        return false;
    const uint8_t *begin = scanner->at;
    *plain = true;
    for (; scanner->at < scanner->end; scanner->at++) {
        if (*scanner->at < 0x20)
            return false;
        if (*scanner->at == '"') {
            *out = span_of(begin, (size_t)(scanner->at++ - begin));
            return true;
        }
        if (*scanner->at == '\\') {
            *plain = false;
            if (++scanner->at == scanner->end)
                return false;
        }
    }
    return false;
}

/* Any other value: up to the comma or bracket that ends it, whatever is nested inside. */
static bool scan_other(struct scanner *scanner)
{
    struct span ignored;
    bool plain;
    unsigned depth = 0;
    const uint8_t *begin = scanner->at;
    while (scan_space(scanner)) {
        uint8_t byte = *scanner->at;
        if (depth == 0 && (byte == ',' || byte == '}'))
            return scanner->at > begin;
        if (byte == '"') {
            if (!scan_string(scanner, &ignored, &plain))
                return false;
            continue;
        }
        if (byte == '{' || byte == '[')
            depth++;
        else if ((byte == '}' || byte == ']') && depth-- == 0)
            return false;
        scanner->at++;
    }
    return false;
}

static bool scan_member(struct scanner *scanner, struct span *command, struct span *id)
{
    struct span name, value = {NULL, 0};
    bool plain_name, plain = false;
    if (!scan_string(scanner, &name, &plain_name) || !scan_byte(scanner, ':') || !scan_space(scanner))
        return false;
    if (*scanner->at == '"' ? !scan_string(scanner, &value, &plain) : !scan_other(scanner))
        return false;
    if (plain && span_equal(name, SPAN_LITERAL("command")))
        *command = value;
    else if (plain && span_equal(name, SPAN_LITERAL("id")))
        *id = value;
    return true;
}

/* Names of commands are echoed into JSON and handed to the car: letters, digits and a few marks, nothing that needs
 * care. */
static bool command_name_valid(struct span name)
{
    if (name.length == 0 || name.length > AGENT_COMMAND_MAX)
        return false;
    for (uint32_t i = 0; i < name.length; i++) {
        uint8_t byte = name.data[i];
        bool alphanumeric =
            (byte >= '0' && byte <= '9') || (byte >= 'A' && byte <= 'Z') || (byte >= 'a' && byte <= 'z');
        if (!alphanumeric && !memchr("-_.:/ ", byte, 6))
            return false;
    }
    return true;
}

static struct span trim(struct span text)
{
    while (text.length > 0 && text.data[text.length - 1] <= ' ')
        text.length--;
    while (text.length > 0 && text.data[0] <= ' ') {
        text.data++;
        text.length--;
    }
    return text;
}

void agent_text_command(struct span payload, struct span *command, struct span *id)
{
    struct scanner scanner = {payload.data, payload.data + payload.length};
    *command = *id = (struct span){NULL, 0};
    if (!scan_byte(&scanner, '{')) {
        *command = trim(payload);
    } else {
        bool whole = true;
        do
            whole = scan_member(&scanner, command, id);
        while (whole && scan_byte(&scanner, ','));
        if (!whole || !scan_byte(&scanner, '}'))
            *command = *id = (struct span){NULL, 0};
    }
    if (!command_name_valid(*command))
        *command = (struct span){NULL, 0};
}
