/* page.c: a text that grows, and the escaping every format needs. */
#include "internal.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

static bool page_room(struct page *page, size_t more)
{
    if (page->failed)
        return false;
    if (page->length + more < page->capacity)
        return true;
    size_t capacity = page->capacity ? page->capacity : 16384;
    while (capacity <= page->length + more)
        capacity *= 2;
    char *data = realloc(page->data, capacity);
    if (!data) {
        page->failed = true;
        return false;
    }
    page->data = data;
    page->capacity = capacity;
    return true;
}

void page_bytes(struct page *page, const char *bytes, size_t length)
{
    if (!page_room(page, length))
        return;
    memcpy(page->data + page->length, bytes, length);
    page->length += length;
    page->data[page->length] = 0;
}

void page_add(struct page *page, const char *text)
{
    page_bytes(page, text, strlen(text));
}

void page_format(struct page *page, const char *format, ...)
{
    va_list arguments, again;
    va_start(arguments, format);
    va_copy(again, arguments);
    int length = vsnprintf(NULL, 0, format, arguments);
    if (length < 0)
        page->failed = true;
    else if (page_room(page, (size_t)length + 1)) {
        vsnprintf(page->data + page->length, (size_t)length + 1, format, again);
        page->length += (size_t)length;
    }
    va_end(again);
    va_end(arguments);
}

void page_free(struct page *page)
{
    free(page->data);
    memset(page, 0, sizeof(*page));
}

/* ---- UTF-8 ------------------------------------------------------------------------------------------------------------- */

size_t utf8_length(const char *text)
{
    const unsigned char *byte = (const unsigned char *)text;
    if (byte[0] < 0x80)
        return 1;
    size_t length = byte[0] >= 0xC2 && byte[0] < 0xE0   ? 2
                    : (byte[0] & 0xF0) == 0xE0          ? 3
                    : byte[0] >= 0xF0 && byte[0] < 0xF5 ? 4
                                                        : 0;
    for (size_t i = 1; i < length; i++)
        if ((byte[i] & 0xC0) != 0x80)
            return 0;
    bool overlong = (byte[0] == 0xE0 && byte[1] < 0xA0) || (byte[0] == 0xF0 && byte[1] < 0x90);
    bool surrogate = byte[0] == 0xED && byte[1] >= 0xA0, beyond = byte[0] == 0xF4 && byte[1] >= 0x90;
    bool not_a_character = byte[0] == 0xEF && byte[1] == 0xBF && length == 3 && byte[2] >= 0xBE;
    return overlong || surrogate || beyond || not_a_character ? 0 : length;
}

size_t utf8_columns(const char *text)
{
    size_t columns = 0;
    for (; *text; text++)
        columns += ((unsigned char)*text & 0xC0) != 0x80;
    return columns;
}

#define REPLACEMENT "\xEF\xBF\xBD"

void utf8_clean(const char *text, char *out, size_t capacity)
{
    size_t used = 0;
    while (*text) {
        size_t length = utf8_length(text);
        const char *from = length ? text : REPLACEMENT;
        size_t bytes = length ? length : sizeof(REPLACEMENT) - 1;
        if (used + bytes >= capacity)
            break;
        memcpy(out + used, from, bytes);
        used += bytes;
        text += length ? length : 1;
    }
    out[used] = 0;
}

/* ---- escaping ---------------------------------------------------------------------------------------------------------- */

static void escape_one(struct page *page, char character)
{
    switch (character) {
    case '&': page_add(page, "&amp;"); break;
    case '<': page_add(page, "&lt;"); break;
    case '>': page_add(page, "&gt;"); break;
    case '"': page_add(page, "&quot;"); break;
    case '\'': page_add(page, "&#39;"); break;
    case '\t': page_add(page, "&#9;"); break;
    case '\n': page_add(page, "&#10;"); break;
    default:
        if ((unsigned char)character >= 0x20 && character != 0x7F)
            page_bytes(page, &character, 1);
    }
}

void page_escape(struct page *page, const char *text)
{
    while (*text) {
        size_t length = utf8_length(text);
        if (length == 1)
            escape_one(page, *text);
        else if (length)
            page_bytes(page, text, length);
        else
            page_add(page, REPLACEMENT);
        text += length ? length : 1;
    }
}

void page_json(struct page *page, const char *text)
{
    page_add(page, "\"");
    while (*text) {
        size_t length = utf8_length(text);
        unsigned char byte = (unsigned char)*text;
        if (length == 0)
            page_add(page, REPLACEMENT);
        else if (length == 1 && (byte < 0x20 || strchr("\"\\<>&\x7F", byte)))
            page_format(page, "\\u%04x", byte);
        else
            page_bytes(page, text, length);
        text += length ? length : 1;
    }
    page_add(page, "\"");
}
