/* broker_rig_words.h: packets out of words; the half of broker_rig.h that reads a line, and included by it alone.
 *
 *   CONNECT id= v=4|5 clean ka= expiry= rm= max= tam= rpi= rri= auth= data= user= will=topic:payload wq= wr wd=
 *   PUBLISH q1 #7 dup retain topic=payload exp= pf= alias= ct= rt= cd= up=name:value    ("*400" is a payload of 400 bytes)
 *   SUBSCRIBE #1 filter:qos,nl,rap,rh1 ... sid=     UNSUBSCRIBE #1 filter ...
 *   PUBACK #7 [reason]   DISCONNECT [reason] expiry=   AUTH reason auth= data=   RAW hex
 */
#ifndef BROKER_RIG_WORDS_H
#define BROKER_RIG_WORDS_H

/* The words of a line. */
struct rig_words {
    char text[4096];
    char *word[64];
    int count;
};

static void rig_split(const char *line, struct rig_words *words)
{
    words->count = 0;
    snprintf(words->text, sizeof(words->text), "%s", line);
    for (char *word = strtok(words->text, " "); word && words->count < 64; word = strtok(NULL, " "))
        words->word[words->count++] = word;
}

static const char *rig_value(const struct rig_words *words, const char *key)
{
    size_t length = strlen(key);
    for (int i = 1; i < words->count; i++)
        if (strncmp(words->word[i], key, length) == 0 && words->word[i][length] == '=')
            return words->word[i] + length + 1;
    return NULL;
}

static bool rig_flag(const struct rig_words *words, const char *key)
{
    for (int i = 1; i < words->count; i++)
        if (strcmp(words->word[i], key) == 0)
            return true;
    return false;
}

static bool rig_number(const struct rig_words *words, const char *key, uint32_t *out)
{
    const char *value = rig_value(words, key);
    if (value)
        *out = (uint32_t)strtoul(value, NULL, 0);
    return value;
}

/* "*400" stands for 400 bytes; a trailing "..." is not special. */
static struct span rig_span(const char *text)
{
    static char many[8][70000];
    static int turn;
    if (!text)
        return (struct span){NULL, 0};
    if (text[0] == '*' && text[1]) {
        size_t length = strtoul(text + 1, NULL, 10);
        turn = (turn + 1) % 8;
        memset(many[turn], 'x', length);
        return span_of(many[turn], length);
    }
    return span_text(text);
}

#define RIG_NUMBER(key, property, field)                                                                               \
    do {                                                                                                               \
        uint32_t number_;                                                                                              \
        if (rig_number(words, key, &number_)) {                                                                        \
            p->present |= MQ5_BIT(property);                                                                           \
            p->field = (__typeof__(p->field))number_;                                                                  \
        }                                                                                                              \
    } while (0)
#define RIG_TEXT(key, property, field)                                                                                 \
    do {                                                                                                               \
        if (rig_value(words, key)) {                                                                                   \
            p->present |= MQ5_BIT(property);                                                                           \
            p->field = rig_span(rig_value(words, key));                                                                \
        }                                                                                                              \
    } while (0)

static void rig_message_properties(const struct rig_words *words, struct mq5_properties *p,
                                   struct mq5_user_property *pairs)
{
    RIG_NUMBER("exp", MQ5_MESSAGE_EXPIRY_INTERVAL, message_expiry_s);
    RIG_NUMBER("pf", MQ5_PAYLOAD_FORMAT_INDICATOR, payload_format);
    RIG_NUMBER("alias", MQ5_TOPIC_ALIAS, topic_alias);
    RIG_TEXT("ct", MQ5_CONTENT_TYPE, content_type);
    RIG_TEXT("rt", MQ5_RESPONSE_TOPIC, response_topic);
    RIG_TEXT("cd", MQ5_CORRELATION_DATA, correlation_data);
    p->user = pairs;
    for (int i = 1; i < words->count; i++) {
        char *colon = strchr(words->word[i], ':');
        if (strncmp(words->word[i], "up=", 3) != 0 || !colon)
            continue;
        pairs[p->user_count].name = span_of(words->word[i] + 3, (size_t)(colon - words->word[i] - 3));
        pairs[p->user_count++].value = span_text(colon + 1);
    }
}

static void rig_make_connect(const struct rig_words *words, struct mq5_connect *connect,
                             struct mq5_user_property *pairs)
{
    struct mq5_properties *p = &connect->properties;
    uint32_t number;
    const char *will = rig_value(words, "will");
    connect->version = rig_number(words, "v", &number) ? (uint8_t)number : 5;
    connect->clean_start = rig_flag(words, "clean");
    connect->keep_alive_s = rig_number(words, "ka", &number) ? (uint16_t)number : 0;
    connect->client_id = rig_span(rig_value(words, "id"));
    if (rig_value(words, "user")) {
        connect->has_user_name = connect->has_password = true;
        connect->user_name = connect->password = rig_span(rig_value(words, "user"));
    }
    RIG_NUMBER("expiry", MQ5_SESSION_EXPIRY_INTERVAL, session_expiry_s);
    RIG_NUMBER("rm", MQ5_RECEIVE_MAXIMUM, receive_maximum);
    RIG_NUMBER("max", MQ5_MAXIMUM_PACKET_SIZE, maximum_packet_size);
    RIG_NUMBER("tam", MQ5_TOPIC_ALIAS_MAXIMUM, topic_alias_maximum);
    RIG_NUMBER("rpi", MQ5_REQUEST_PROBLEM_INFORMATION, request_problem_information);
    RIG_NUMBER("rri", MQ5_REQUEST_RESPONSE_INFORMATION, request_response_information);
    RIG_TEXT("auth", MQ5_AUTHENTICATION_METHOD, authentication_method);
    RIG_TEXT("data", MQ5_AUTHENTICATION_DATA, authentication_data);
    if (!will)
        return;
    char *equals = strchr(will, ':');
    connect->has_will = true;
    connect->will_topic = span_of(will, (size_t)(equals - will));
    connect->will_payload = span_text(equals + 1);
    connect->will_qos = rig_number(words, "wq", &number) ? (uint8_t)number : 0;
    connect->will_retain = rig_flag(words, "wr");
    p = &connect->will_properties;
    rig_message_properties(words, p, pairs);
    RIG_NUMBER("wd", MQ5_WILL_DELAY_INTERVAL, will_delay_s);
}

static void rig_make_publish(const struct rig_words *words, struct mq5_publish *publish,
                             struct mq5_user_property *pairs)
{
    *publish = (struct mq5_publish){.retain = rig_flag(words, "retain"), .dup = rig_flag(words, "dup")};
    for (int i = 1; i < words->count; i++) {
        char *word = words->word[i], *equals = strchr(word, '=');
        if (word[0] == 'q' && word[1] >= '0' && word[1] <= '2' && !word[2])
            publish->qos = (uint8_t)(word[1] - '0');
        else if (word[0] == '#')
            publish->packet_id = (uint16_t)strtoul(word + 1, NULL, 10);
        else if (equals && i + 1 >= 2 && !publish->topic.data && strncmp(word, "up=", 3) != 0) {
            publish->topic = equals == word ? span_of("", 0) : span_of(word, (size_t)(equals - word));
            publish->payload = rig_span(equals + 1);
        }
    }
    rig_message_properties(words, &publish->properties, pairs);
}

/* a/b:1,nl,rap,rh1 */
static void rig_make_filter(char *word, struct mq5_subscription *out)
{
    char *colon = strrchr(word, ':');
    *out = (struct mq5_subscription){0};
    out->filter = colon ? span_of(word, (size_t)(colon - word)) : span_text(word);
    if (!colon)
        return;
    out->qos = (uint8_t)(colon[1] - '0');
    out->no_local = strstr(colon, ",nl");
    out->retain_as_published = strstr(colon, ",rap");
    out->retain_handling = strstr(colon, ",rh1") ? 1 : strstr(colon, ",rh2") ? 2 : 0;
}

static void rig_make_subscribe(const struct rig_words *words, struct mq5_subscribe *subscribe,
                               struct mq5_subscription *list, uint32_t *id)
{
    struct mq5_properties *p = &subscribe->properties;
    subscribe->list = list;
    for (int i = 1; i < words->count; i++) {
        if (words->word[i][0] == '#' && words->word[i][1] >= '0' && words->word[i][1] <= '9')
            subscribe->packet_id = (uint16_t)strtoul(words->word[i] + 1, NULL, 10);
        else if (strncmp(words->word[i], "sid=", 4) != 0)
            rig_make_filter(words->word[i], &list[subscribe->count++]);
    }
    if (rig_number(words, "sid", id)) {
        p->present |= MQ5_BIT(MQ5_SUBSCRIPTION_IDENTIFIER);
        p->subscription_ids = id;
        p->subscription_id_count = 1;
    }
}

static uint8_t rig_type(const char *name)
{
    for (uint8_t type = MQ5_CONNECT; type <= MQ5_AUTH; type++)
        if (strcmp(mq5_type_name(type), name) == 0)
            return type;
    return 0;
}

static void rig_make_ack(const struct rig_words *words, struct mq5_packet *packet)
{
    if (words->count > 1)
        packet->ack.packet_id = (uint16_t)strtoul(words->word[1] + 1, NULL, 10);
    if (words->count > 2)
        packet->ack.reason = (uint8_t)strtoul(words->word[2], NULL, 16);
}

static void rig_make_disconnect(const struct rig_words *words, struct mq5_disconnect *disconnect)
{
    struct mq5_properties *p = &disconnect->properties;
    if (words->count > 1)
        disconnect->reason = (uint8_t)strtoul(words->word[1], NULL, 16);
    RIG_NUMBER("expiry", MQ5_SESSION_EXPIRY_INTERVAL, session_expiry_s);
    RIG_TEXT("auth", MQ5_AUTHENTICATION_METHOD, authentication_method);
    RIG_TEXT("data", MQ5_AUTHENTICATION_DATA, authentication_data);
}

static size_t rig_raw(const struct rig_words *words, uint8_t *out)
{
    size_t length = 0;
    for (int i = 1; i < words->count; i++)
        for (const char *at = words->word[i]; at[0] && at[1]; at += 2) {
            char pair[3] = {at[0], at[1], 0};
            out[length++] = (uint8_t)strtoul(pair, NULL, 16);
        }
    return length;
}

static size_t rig_encode(struct rig_link *link, const struct rig_words *words, uint8_t *out, size_t capacity)
{
    static struct mq5_packet packet;
    static struct mq5_user_property pairs[16];
    static struct mq5_subscription list[64];
    uint32_t id;
    size_t written = 0;
    struct mq5_raw raw = {0};
    if (strcmp(words->word[0], "RAW") == 0)
        return rig_raw(words, out);
    memset(&packet, 0, sizeof(packet));
    packet.type = rig_type(words->word[0]);
    switch (packet.type) {
    case MQ5_CONNECT:
        rig_make_connect(words, &packet.connect, pairs);
        link->version = packet.connect.version == 4 ? MQ5_V311 : MQ5_V5;
        break;
    case MQ5_PUBLISH: rig_make_publish(words, &packet.publish, pairs); break;
    case MQ5_SUBSCRIBE:
    case MQ5_UNSUBSCRIBE: rig_make_subscribe(words, &packet.subscribe, list, &id); break;
    case MQ5_DISCONNECT:
    case MQ5_AUTH: rig_make_disconnect(words, &packet.disconnect); break;
    case 0: rig_fail(link->rig, "unknown packet %s", words->word[0]); break;
    default: rig_make_ack(words, &packet); break;
    }
    enum mq5_status status = mq5_encode(link->version, &packet, out, capacity, &written);
    if (status != MQ5_OK) /* what may not be sent is what some tests want to send */
        status = mq5_encode_raw(link->version, &packet, &raw, out, capacity, &written);
    if (status != MQ5_OK)
        rig_fail(link->rig, "cannot encode %s", words->word[0]);
    return written;
}

#endif
