/* text.c: the little text the agent reads and writes, bounded and without the C library's formatting.
 *
 * The scanner is not a JSON parser: it knows strings without escapes, skips every other value by its brackets, and
 * gives up on the rest. */
#include "agent_internal.h"

static const char digit_pairs[] = "00010203040506070809101112131415161718192021222324252627282930313233343536373839"
                                  "40414243444546474849505152535455565758596061626364656667686970717273747576777879"
                                  "8081828384858687888990919293949596979899";

char *agent_text_number(char *out, int64_t number)
{
    char digits[20];
    unsigned at = sizeof(digits);
    uint64_t rest = number < 0 ? 0 - (uint64_t)number : (uint64_t)number;
    while (rest >= 100) {
        at -= 2;
        memcpy(digits + at, digit_pairs + rest % 100 * 2, 2);
        rest /= 100;
    }
    if (rest >= 10) {
        at -= 2;
        memcpy(digits + at, digit_pairs + rest * 2, 2);
    } else {
        digits[--at] = (char)('0' + rest);
    }
    if (number < 0)
        *out++ = '-';
    memcpy(out, digits + at, sizeof(digits) - at);
    return out + sizeof(digits) - at;
}

char *agent_text_copy(char *out, struct span text)
{
    if (text.length > 0)
        memcpy(out, text.data, text.length);
    return out + text.length;
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
