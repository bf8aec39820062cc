/* json.c: the little JSON the agent reads and writes, bounded, without copies but for text.
 *
 * Reading: a member of an object is found by its name and handed out as the bytes of its value, which may be an object to look into in turn.
 * The object must be whole; what is nested inside is checked for brackets and strings, not for commas. A name given twice: the
 * first one counts. No recursion: brackets are bits of one word, so that nothing deeper than 32 is accepted. */
#include "agent_internal.h"

enum { NESTED_MAX = 32, NAME_MAX_BYTES = 64 };

struct reader {
    const uint8_t *at, *end;
};

static bool skip_space(struct reader *reader)
{
    while (reader->at < reader->end &&
           (*reader->at == ' ' || *reader->at == '\t' || *reader->at == '\n' || *reader->at == '\r'))
        reader->at++;
    return reader->at < reader->end;
}

static bool take(struct reader *reader, char byte)
{
    if (!skip_space(reader) || *reader->at != (uint8_t)byte)
        return false;
    reader->at++;
    return true;
}

/* At its first quote. */
static bool skip_string(struct reader *reader)
{
    for (reader->at++; reader->at < reader->end; reader->at++) {
        if (*reader->at < 0x20)
            return false;
        if (*reader->at == '"') {
            reader->at++;
            return true;
        }
        if (*reader->at == '\\' && ++reader->at == reader->end)
            return false;
    }
    return false;
}

/* At its first bracket, up to and with the one that closes it. */
static bool skip_nested(struct reader *reader)
{
    uint32_t squares = 0; /* a bit a level: 1 for [ */
    unsigned depth = 0;
    do {
        if (!skip_space(reader))
            return false;
        uint8_t byte = *reader->at;
        if (byte == '"') {
            if (!skip_string(reader))
                return false;
            continue;
        }
        if (byte == '{' || byte == '[') {
            if (depth == NESTED_MAX)
                return false;
            squares = squares << 1 | (byte == '[');
            depth++;
        } else if (byte == '}' || byte == ']') {
            if ((squares & 1) != (byte == ']'))
                return false;
            squares >>= 1;
            depth--;
        }
        reader->at++;
    } while (depth > 0);
    return true;
}

static bool skip_value(struct reader *reader)
{
    if (!skip_space(reader))
        return false;
    if (*reader->at == '"')
        return skip_string(reader);
    if (*reader->at == '{' || *reader->at == '[')
        return skip_nested(reader);
    const uint8_t *begin = reader->at; /* a number, true, false, null */
    while (reader->at < reader->end &&
           ((*reader->at >= '0' && *reader->at <= '9') || (*reader->at >= 'a' && *reader->at <= 'z') ||
            *reader->at == 'E' || *reader->at == '+' || *reader->at == '-' || *reader->at == '.'))
        reader->at++;
    return reader->at > begin;
}

static bool named(struct span quoted, const char *name)
{
    char text[NAME_MAX_BYTES];
    size_t length = 0;
    return agent_json_text(quoted, text, sizeof(text), &length) && span_equal(span_of(text, length), span_text(name));
}

struct member {
    struct span key, value, both;
};

/* Behind the brace or a comma. */
static bool take_member(struct reader *reader, struct member *member)
{
    if (!skip_space(reader) || *reader->at != '"')
        return false;
    const uint8_t *begin = reader->at;
    if (!skip_string(reader))
        return false;
    member->key = span_of(begin, (size_t)(reader->at - begin));
    if (!take(reader, ':') || !skip_space(reader))
        return false;
    const uint8_t *value = reader->at;
    if (!skip_value(reader))
        return false;
    member->value = span_of(value, (size_t)(reader->at - value));
    member->both = span_of(begin, (size_t)(reader->at - begin));
    return true;
}

enum agent_json agent_json_member(struct span object, const char *name, struct span *value)
{
    struct member member;
    struct reader reader = {object.data, object.data + object.length};
    enum agent_json found = AGENT_JSON_NONE;
    *value = (struct span){NULL, 0};
    if (!take(&reader, '{'))
        return AGENT_JSON_BAD;
    if (!take(&reader, '}')) {
        do {
            if (!take_member(&reader, &member))
                return AGENT_JSON_BAD;
            if (found == AGENT_JSON_NONE && named(member.key, name)) {
                *value = member.value;
                found = AGENT_JSON_FOUND;
            }
        } while (take(&reader, ','));
        if (!take(&reader, '}'))
            return AGENT_JSON_BAD;
    }
    return skip_space(&reader) ? AGENT_JSON_BAD : found; /* nothing may follow */
}

struct span agent_json_members(struct span object)
{
    struct span ignored;
    if (agent_json_member(object, "", &ignored) == AGENT_JSON_BAD)
        return (struct span){NULL, 0};
    const uint8_t *begin = object.data, *end = object.data + object.length;
    while (*begin++ != '{')
        ;
    while (*--end != '}')
        ;
    while (begin < end && *begin <= ' ')
        begin++;
    while (end > begin && end[-1] <= ' ')
        end--;
    return span_of(begin, (size_t)(end - begin));
}

bool agent_json_without(struct span object, const char *name, char *out, size_t capacity, size_t *length)
{
    struct reader reader = {object.data, object.data + object.length};
    struct member member;
    *length = 0;
    if (agent_json_members(object).length == 0)
        return false;
    take(&reader, '{');
    do {
        if (!take_member(&reader, &member))
            return false;
        if (named(member.key, name))
            continue;
        if (member.both.length + 1u > capacity - *length)
            return false;
        if (*length > 0)
            out[(*length)++] = ',';
        memcpy(out + *length, member.both.data, member.both.length);
        *length += member.both.length;
    } while (take(&reader, ','));
    return true;
}

static int hex_digit(uint8_t byte)
{
    return byte >= '0' && byte <= '9'   ? byte - '0'
           : byte >= 'a' && byte <= 'f' ? byte - 'a' + 10
           : byte >= 'A' && byte <= 'F' ? byte - 'A' + 10
                                        : -1;
}

/* The four digits behind \u; false: there are none. */
static bool take_unit(struct reader *reader, uint32_t *unit)
{
    *unit = 0;
    if (reader->end - reader->at < 4)
        return false;
    for (unsigned i = 0; i < 4; i++) {
        int digit = hex_digit(*reader->at++);
        if (digit < 0)
            return false;
        *unit = *unit << 4 | (uint32_t)digit;
    }
    return true;
}

static size_t put_utf8(uint32_t point, uint8_t out[4])
{
    if (point < 0x80) {
        out[0] = (uint8_t)point;
        return 1;
    }
    size_t bytes = point < 0x800 ? 2 : point < 0x10000 ? 3 : 4;
    static const uint8_t head[] = {0, 0, 0xC0, 0xE0, 0xF0};
    for (size_t i = bytes - 1; i > 0; i--, point >>= 6)
        out[i] = (uint8_t)(0x80 | (point & 0x3F));
    out[0] = (uint8_t)(head[bytes] | point);
    return bytes;
}

/* Behind the backslash. 0: no such escape. */
static size_t take_escape(struct reader *reader, uint8_t out[4])
{
    static const char marks[] = "\"\\/bfnrt", meant[] = "\"\\/\b\f\n\r\t";
    if (reader->at == reader->end)
        return 0;
    uint8_t mark = *reader->at++;
    const char *known = mark ? strchr(marks, mark) : NULL;
    if (known) {
        out[0] = (uint8_t)meant[known - marks];
        return 1;
    }
    uint32_t unit, low;
    if (mark != 'u' || !take_unit(reader, &unit) || (unit >= 0xDC00 && unit < 0xE000))
        return 0;
    if (unit < 0xD800 || unit >= 0xE000)
        return put_utf8(unit, out);
    if (reader->end - reader->at < 2 || reader->at[0] != '\\' || reader->at[1] != 'u')
        return 0;
    reader->at += 2;
    if (!take_unit(reader, &low) || low < 0xDC00 || low >= 0xE000)
        return 0;
    return put_utf8(0x10000 + ((unit - 0xD800) << 10) + (low - 0xDC00), out);
}

bool agent_json_text(struct span value, void *out, size_t capacity, size_t *length)
{
    uint8_t *to = out;
    *length = 0;
    if (value.length < 2 || value.data[0] != '"' || value.data[value.length - 1] != '"')
        return false;
    struct reader reader = {value.data + 1, value.data + value.length - 1};
    while (reader.at < reader.end) {
        uint8_t bytes[4];
        size_t count = 1;
        bytes[0] = *reader.at++;
        if (bytes[0] == '\\')
            count = take_escape(&reader, bytes);
        else if (bytes[0] < 0x20 || bytes[0] == '"')
            count = 0;
        if (count == 0 || count > capacity - *length)
            return false;
        memcpy(to + *length, bytes, count);
        *length += count;
    }
    return true;
}

bool agent_json_is(struct span value, const char *text)
{
    return named(value, text);
}

bool agent_json_number(struct span value, int64_t *number)
{
    *number = 0;
    if (value.length > 2 && value.data[0] == '"' && value.data[value.length - 1] == '"')
        value = span_of(value.data + 1, value.length - 2); /* some write versions as text */
    if (value.length == 0 || value.length > 18)
        return false;
    for (uint32_t i = 0; i < value.length; i++) {
        if (value.data[i] < '0' || value.data[i] > '9')
            return false;
        *number = *number * 10 + (value.data[i] - '0');
    }
    return true;
}

char *agent_json_quote(char *at, const char *end, struct span text)
{
    static const char digits[] = "0123456789abcdef";
    if (!at || at == end)
        return NULL;
    *at++ = '"';
    for (uint32_t i = 0; i < text.length; i++) {
        uint8_t byte = text.data[i];
        if (end - at < 7)
            return NULL;
        if (byte == '"' || byte == '\\' || byte == '\n') {
            *at++ = '\\';
            *at++ = byte == '\n' ? 'n' : (char)byte;
        } else if (byte < 0x20) {
            at = agent_text_literal(at, "\\u00");
            *at++ = digits[byte >> 4];
            *at++ = digits[byte & 15];
        } else {
            *at++ = (char)byte;
        }
    }
    if (at == end)
        return NULL;
    *at++ = '"';
    return at;
}

char *agent_json_put(char *at, const char *end, const char *text)
{
    size_t length = strlen(text);
    if (!at || (size_t)(end - at) < length)
        return NULL;
    memcpy(at, text, length);
    return at + length;
}
