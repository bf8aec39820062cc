/* provisioning_text.c: topics and JSON of fleet provisioning. Requests are parsed with cJSON and forgotten at once; answers are written directly. */
#include "provisioning_private.h"

void provisioning_put_json_inside(struct text_writer *w, struct span text)
{
    static const char digits[] = "0123456789abcdef";
    uint32_t from = 0;
    for (uint32_t i = 0; i < text.length; i++) {
        uint8_t c = text.data[i];
        if (c >= 0x20 && c != '"' && c != '\\')
            continue;
        text_put(w, text.data + from, i - from);
        from = i + 1;
        if (c == '\n') {
            TEXT_PUT(w, "\\n");
        } else if (c >= 0x20) {
            text_put(w, (char[]){'\\', (char)c}, 2);
        } else {
            text_put(w, (char[]){'\\', 'u', '0', '0', digits[c >> 4], digits[c & 15]}, 6);
        }
    }
    text_put(w, text.data + from, text.length - from);
}

void provisioning_put_json(struct text_writer *w, struct span text)
{
    TEXT_PUT(w, "\"");
    provisioning_put_json_inside(w, text);
    TEXT_PUT(w, "\"");
}

void provisioning_put_pem(struct text_writer *w, bool modelled, const char *label, struct span der)
{
    static const char base64[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    if (modelled) {
        provisioning_put_json(w, der);
        return;
    }
    TEXT_PUT(w, "\"-----BEGIN ");
    text_put_string(w, label);
    TEXT_PUT(w, "-----\\n");
    for (uint32_t i = 0; i < der.length; i += 3) {
        uint32_t left = der.length - i;
        uint32_t bits = (uint32_t)der.data[i] << 16 | (left > 1 ? (uint32_t)der.data[i + 1] << 8 : 0) |
                        (left > 2 ? der.data[i + 2] : 0);
        char four[4] = {base64[bits >> 18], base64[bits >> 12 & 63], left > 1 ? base64[bits >> 6 & 63] : '=',
                        left > 2 ? base64[bits & 63] : '='};
        text_put(w, four, 4);
        if (i % 48 == 45 || left <= 3)
            TEXT_PUT(w, "\\n");
    }
    TEXT_PUT(w, "-----END ");
    text_put_string(w, label);
    TEXT_PUT(w, "-----\\n\"");
}

cJSON *provisioning_parse(struct span payload)
{
    if (payload.length == 0)
        return cJSON_CreateObject();
    cJSON *object = payload.length <= PROVISIONING_PAYLOAD_MAX
                        ? cJSON_ParseWithLength((const char *)payload.data, payload.length)
                        : NULL;
    if (cJSON_IsObject(object))
        return object;
    cJSON_Delete(object);
    return NULL;
}

struct span provisioning_member(const cJSON *object, const char *name)
{
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(object, name);
    return cJSON_IsString(item) ? span_text(item->valuestring) : (struct span){0};
}

static bool cut(struct span *text, struct span head, struct span tail)
{
    if (text->length < head.length + tail.length || memcmp(text->data, head.data, head.length) != 0 ||
        memcmp(text->data + text->length - tail.length, tail.data, tail.length) != 0)
        return false;
    *text = span_of(text->data + head.length, text->length - head.length - tail.length);
    return true;
}

enum provisioning_call provisioning_topic(struct span topic, struct span *template_name)
{
    if (span_equal(topic, SPAN_LITERAL("certificates/create/json")))
        return CALL_CREATE;
    if (span_equal(topic, SPAN_LITERAL("certificates/create-from-csr/json")))
        return CALL_CREATE_FROM_CSR;
    *template_name = topic;
    if (!cut(template_name, SPAN_LITERAL("provisioning-templates/"), SPAN_LITERAL("/provision/json")) ||
        template_name->length == 0 || memchr(template_name->data, '/', template_name->length))
        return CALL_NONE;
    return CALL_PROVISION;
}
