/* connection.c: whether the vehicle is connected, and what it does about it.
 *
 * agent_enter() is the only writer of tcu->state. The table gives for each state and event the next state and one
 * action; the actions below are all there is. Waits between attempts are exponential with full jitter: uniform in
 * [0, min(cap, base * 2^n)]. */
#include "agent_internal.h"

/* Asleep is WAITING without an end: no attempt is made before AGENT_WAKE.
 *
 * Late answers of the outside (a link that comes up after its time-out, an HTTP response after a stop) are ignored
 * by the table. */
/* clang-format off */
const struct agent_cell agent_table[AGENT_STATES][AGENT_EVENTS] = {
    [TCU_OFF] = {
        [AGENT_START] = {TCU_WAITING, ACTION_WAIT_NONE},
        [AGENT_STOP] = {TCU_OFF, ACTION_IGNORE},
        [AGENT_ATTEMPT] = {TCU_OFF, ACTION_BROKEN},
        [AGENT_PROVISION] = {TCU_OFF, ACTION_BROKEN},
        [AGENT_TIMEOUT] = {TCU_OFF, ACTION_BROKEN},
        [AGENT_KEY_READY] = {TCU_OFF, ACTION_IGNORE},
        [AGENT_CERTIFIED] = {TCU_OFF, ACTION_IGNORE},
        [AGENT_UNCERTIFIED] = {TCU_OFF, ACTION_IGNORE},
        [AGENT_LINK_UP] = {TCU_OFF, ACTION_IGNORE},
        [AGENT_LINK_DOWN] = {TCU_OFF, ACTION_IGNORE},
        [AGENT_ACCEPTED] = {TCU_OFF, ACTION_IGNORE},
        [AGENT_REFUSED] = {TCU_OFF, ACTION_IGNORE},
        [AGENT_DISCONNECTED] = {TCU_OFF, ACTION_IGNORE},
        [AGENT_REDIRECTED] = {TCU_OFF, ACTION_IGNORE},
        [AGENT_DISTRUST] = {TCU_OFF, ACTION_BROKEN},
        [AGENT_RECONNECT] = {TCU_OFF, ACTION_BROKEN},
        [AGENT_SLEEP] = {TCU_OFF, ACTION_BROKEN},
        [AGENT_WAKE] = {TCU_OFF, ACTION_BROKEN},
    },
    [TCU_PROVISIONING] = {
        [AGENT_START] = {TCU_PROVISIONING, ACTION_IGNORE},
        [AGENT_STOP] = {TCU_OFF, ACTION_STOP},
        [AGENT_ATTEMPT] = {TCU_PROVISIONING, ACTION_BROKEN},
        [AGENT_PROVISION] = {TCU_PROVISIONING, ACTION_BROKEN},
        [AGENT_TIMEOUT] = {TCU_WAITING, ACTION_BACK_OFF},
        [AGENT_KEY_READY] = {TCU_PROVISIONING, ACTION_STAY},
        [AGENT_CERTIFIED] = {TCU_CONNECTING, ACTION_OPEN},
        [AGENT_UNCERTIFIED] = {TCU_WAITING, ACTION_BACK_OFF},
        [AGENT_LINK_UP] = {TCU_PROVISIONING, ACTION_IGNORE},
        [AGENT_LINK_DOWN] = {TCU_PROVISIONING, ACTION_IGNORE},
        [AGENT_ACCEPTED] = {TCU_PROVISIONING, ACTION_IGNORE},
        [AGENT_REFUSED] = {TCU_PROVISIONING, ACTION_IGNORE},
        [AGENT_DISCONNECTED] = {TCU_PROVISIONING, ACTION_IGNORE},
        [AGENT_REDIRECTED] = {TCU_PROVISIONING, ACTION_IGNORE},
        [AGENT_DISTRUST] = {TCU_PROVISIONING, ACTION_BROKEN},
        [AGENT_RECONNECT] = {TCU_PROVISIONING, ACTION_BROKEN},
        [AGENT_SLEEP] = {TCU_WAITING, ACTION_SLEEP},
        [AGENT_WAKE] = {TCU_PROVISIONING, ACTION_IGNORE},
    },
    [TCU_WAITING] = {
        [AGENT_START] = {TCU_WAITING, ACTION_IGNORE},
        [AGENT_STOP] = {TCU_OFF, ACTION_STOP},
        [AGENT_ATTEMPT] = {TCU_CONNECTING, ACTION_OPEN},
        [AGENT_PROVISION] = {TCU_PROVISIONING, ACTION_PROVISION},
        [AGENT_TIMEOUT] = {TCU_WAITING, ACTION_BROKEN},
        [AGENT_KEY_READY] = {TCU_WAITING, ACTION_IGNORE},
        [AGENT_CERTIFIED] = {TCU_WAITING, ACTION_IGNORE},
        [AGENT_UNCERTIFIED] = {TCU_WAITING, ACTION_IGNORE},
        [AGENT_LINK_UP] = {TCU_WAITING, ACTION_IGNORE},
        [AGENT_LINK_DOWN] = {TCU_WAITING, ACTION_IGNORE},
        [AGENT_ACCEPTED] = {TCU_WAITING, ACTION_IGNORE},
        [AGENT_REFUSED] = {TCU_WAITING, ACTION_IGNORE},
        [AGENT_DISCONNECTED] = {TCU_WAITING, ACTION_IGNORE},
        [AGENT_REDIRECTED] = {TCU_WAITING, ACTION_IGNORE},
        [AGENT_DISTRUST] = {TCU_WAITING, ACTION_BROKEN},
        [AGENT_RECONNECT] = {TCU_WAITING, ACTION_BROKEN},
        [AGENT_SLEEP] = {TCU_WAITING, ACTION_SLEEP},
        [AGENT_WAKE] = {TCU_WAITING, ACTION_WAIT_NONE},
    },
    [TCU_CONNECTING] = {
        [AGENT_START] = {TCU_CONNECTING, ACTION_IGNORE},
        [AGENT_STOP] = {TCU_OFF, ACTION_STOP},
        [AGENT_ATTEMPT] = {TCU_CONNECTING, ACTION_BROKEN},
        [AGENT_PROVISION] = {TCU_CONNECTING, ACTION_BROKEN},
        [AGENT_TIMEOUT] = {TCU_WAITING, ACTION_BACK_OFF},
        [AGENT_KEY_READY] = {TCU_CONNECTING, ACTION_IGNORE},
        [AGENT_CERTIFIED] = {TCU_CONNECTING, ACTION_IGNORE},
        [AGENT_UNCERTIFIED] = {TCU_CONNECTING, ACTION_IGNORE},
        [AGENT_LINK_UP] = {TCU_CONNECTING, ACTION_STAY},
        [AGENT_LINK_DOWN] = {TCU_WAITING, ACTION_BACK_OFF},
        [AGENT_ACCEPTED] = {TCU_ONLINE, ACTION_ONLINE},
        [AGENT_REFUSED] = {TCU_WAITING, ACTION_BACK_OFF},
        [AGENT_DISCONNECTED] = {TCU_WAITING, ACTION_BACK_OFF},
        [AGENT_REDIRECTED] = {TCU_WAITING, ACTION_BACK_OFF},
        [AGENT_DISTRUST] = {TCU_CONNECTING, ACTION_BROKEN},
        [AGENT_RECONNECT] = {TCU_CONNECTING, ACTION_BROKEN},
        [AGENT_SLEEP] = {TCU_WAITING, ACTION_SLEEP},
        [AGENT_WAKE] = {TCU_CONNECTING, ACTION_IGNORE},
    },
    [TCU_ONLINE] = {
        [AGENT_START] = {TCU_ONLINE, ACTION_IGNORE},
        [AGENT_STOP] = {TCU_OFF, ACTION_STOP},
        [AGENT_ATTEMPT] = {TCU_ONLINE, ACTION_BROKEN},
        [AGENT_PROVISION] = {TCU_ONLINE, ACTION_BROKEN},
        [AGENT_TIMEOUT] = {TCU_ONLINE, ACTION_BROKEN},
        [AGENT_KEY_READY] = {TCU_ONLINE, ACTION_IGNORE},
        [AGENT_CERTIFIED] = {TCU_ONLINE, ACTION_IGNORE},
        [AGENT_UNCERTIFIED] = {TCU_ONLINE, ACTION_IGNORE},
        [AGENT_LINK_UP] = {TCU_ONLINE, ACTION_IGNORE},
        [AGENT_LINK_DOWN] = {TCU_WAITING, ACTION_BACK_OFF},
        [AGENT_ACCEPTED] = {TCU_ONLINE, ACTION_IGNORE},
        [AGENT_REFUSED] = {TCU_ONLINE, ACTION_IGNORE},
        [AGENT_DISCONNECTED] = {TCU_WAITING, ACTION_BACK_OFF},
        [AGENT_REDIRECTED] = {TCU_WAITING, ACTION_BACK_OFF},
        [AGENT_DISTRUST] = {TCU_WAITING, ACTION_BACK_OFF},
        [AGENT_RECONNECT] = {TCU_WAITING, ACTION_RECONNECT},
        [AGENT_SLEEP] = {TCU_WAITING, ACTION_SLEEP},
        [AGENT_WAKE] = {TCU_ONLINE, ACTION_IGNORE},
    },
};
/* clang-format on */

static uint16_t wanted_keep_alive(const struct tcu *tcu)
{
    const struct tcu_power_profile *power = tcu->profile->power;
    uint16_t now_s = power[tcu->power].keep_alive_s;
    if (tcu->profile->reconnect_on_power_change)
        return now_s;
    for (unsigned i = 0; i < TCU_POWER_STATES; i++) /* 0: no keep alive, which is the longest */
        if (now_s != 0 && (power[i].keep_alive_s == 0 || power[i].keep_alive_s > now_s))
            now_s = power[i].keep_alive_s;
    return now_s;
}

/* The CONNECT carries the longest keep alive; a state that wants to be silent for less pings sooner. */
static void set_ping_interval(struct tcu *tcu)
{
    uint16_t seconds = tcu->profile->power[tcu->power].keep_alive_s;
    if (!tcu->profile->reconnect_on_power_change)
        agent_mqtt_ping_interval(tcu, seconds == wanted_keep_alive(tcu) ? 0 : seconds);
}

uint32_t agent_session_expiry(const struct tcu *tcu)
{
    uint32_t of_state_s = tcu->profile->power[tcu->power].session_expiry_s;
    if (tcu->profile->session_expiry_s == 0 || agent_claiming(tcu))
        return 0;
    return of_state_s ? of_state_s : tcu->profile->session_expiry_s;
}

void agent_keep_alive_changed(struct tcu *tcu)
{
    const struct tcu_power_profile *power = tcu->profile->power;
    if (tcu->state != TCU_ONLINE)
        return;
    if (!tcu->profile->reconnect_on_power_change)
        set_ping_interval(tcu);
    else if (power[TCU_PARKED].keep_alive_s != power[TCU_DRIVING].keep_alive_s ||
             power[TCU_PARKED].session_expiry_s != power[TCU_DRIVING].session_expiry_s)
        agent_enter(tcu, AGENT_RECONNECT, 0, 0);
}

int64_t agent_jitter(struct tcu *tcu, unsigned exponent)
{
    const struct tcu_profile *profile = tcu->profile;
    int64_t window_us = profile->backoff_cap_us;
    if (exponent < 32 && profile->backoff_base_us <= profile->backoff_cap_us >> exponent)
        window_us = profile->backoff_base_us << exponent;
    if (profile->no_jitter)
        return window_us;
    uint32_t draw = tcu->port->random(tcu->port_context);
    return (int64_t)(((unsigned __int128)draw * (uint64_t)(window_us + 1)) >> 32);
}

static void wait_jittered(struct tcu *tcu)
{
    tcu->timer_us = tcu->now_us + agent_jitter(tcu, tcu->backoff);
    if (tcu->backoff < UINT8_MAX)
        tcu->backoff++;
}

/* Before anything is waited for: until then the moment it went online is there. Nobody was told that a claiming link was online. */
static void leave_online(struct tcu *tcu, uint8_t reason)
{
    if (tcu->now_us - tcu->online_since_us >= tcu->profile->stable_us)
        tcu->backoff = 0;
    if (tcu->now_us - tcu->online_since_us >= AGENT_SETTLED_US)
        tcu->redirected = 0;
    tcu->want_subscribe = tcu->want_presence = tcu->subscribe_sent = 0;
    if (!agent_claiming(tcu))
        agent_tell(tcu, TCU_PROBE_OFFLINE, reason, 0);
}

/* A CONNECT that nobody answered may have made a new, empty session in place of a lost one; the next connection will
 * be told "session present" and would be deaf to commands. Not so when the server answered, or never heard us. */
static bool may_have_lost_subscription(enum agent_event event, uint8_t reason, uint32_t link_end)
{
    if (event == AGENT_REFUSED || event == AGENT_REDIRECTED)
        return reason == MQ5_KEEP_ALIVE_TIMEOUT;
    return event != AGENT_LINK_DOWN || link_end == TCU_LINK_LOST || link_end == TCU_LINK_PEER_CLOSED;
}

/* The server is well, and wants us elsewhere: no reason to wait. But servers that send us to and fro must not have us hammering at
 * their doors: after having been sent on we wait as for any failure until a connection has lasted. */
static void wait_redirected(struct tcu *tcu)
{
    if (tcu->redirected)
        wait_jittered(tcu);
    else
        tcu->timer_us = tcu->now_us;
    tcu->redirected = 1;
}

static void back_off(struct tcu *tcu, uint8_t from, enum agent_event event, uint8_t reason, uint32_t detail)
{
    if (from == TCU_PROVISIONING) {
        agent_tell(tcu, TCU_PROBE_PROVISIONING_FAILED, 0, detail);
    } else {
        agent_mqtt_abort(tcu);
        if (from == TCU_ONLINE)
            leave_online(tcu, reason);
        else
            agent_tell(tcu, TCU_PROBE_REFUSED, event == AGENT_TIMEOUT ? MQ5_KEEP_ALIVE_TIMEOUT : reason, detail);
        if (from == TCU_CONNECTING && may_have_lost_subscription(event, reason, detail))
            tcu->subscribed = 0;
        if (from == TCU_CONNECTING && agent_rotation(tcu))
            agent_rotation_refused(tcu, event, reason, detail);
    }
    if (event == AGENT_REDIRECTED)
        wait_redirected(tcu);
    else
        wait_jittered(tcu);
}

static void open_connection(struct tcu *tcu)
{
    tcu->attempts++;
    tcu->timer_us = tcu->now_us + tcu->profile->connect_timeout_us;
    tcu->identity = agent_identity_wanted(tcu) & 7;
    agent_tell(tcu, TCU_PROBE_CONNECT_BEGIN, 0, tcu->attempts);
    agent_mqtt_connect(tcu);
}

/* Good for nothing but getting an identity: no telemetry, no presence, and subscribed only where answers do not come by themselves. */
static void go_claiming(struct tcu *tcu)
{
    tcu->subscribed = 0;
    tcu->want_subscribe = strchr(tcu->profile->topics.reserved, '%') != NULL;
    tcu->want_presence = 0;
    tcu->want_rotation = 1;
    agent_tell(tcu, TCU_PROBE_CLAIM_ONLINE, 0, 0);
}

static void go_online(struct tcu *tcu, bool resumed)
{
    const struct tcu_topics *topics = &tcu->profile->topics;
    tcu->online_since_us = tcu->now_us;
    tcu->attempts = 0;
    tcu->blocked = 0;
    tcu->subscribe_sent = 0;
    if (agent_claiming(tcu)) {
        go_claiming(tcu);
        return;
    }
    tcu->subscribed &= resumed;
    tcu->want_subscribe = !tcu->subscribed && (topics->command_request[0] || topics->reserved[0] || topics->notices[0]);
    if (!resumed && agent_does_jobs(tcu))
        tcu->want_rotation = 1;                                      /* what was notified meanwhile is lost */
    tcu->want_presence = topics->presence[0] && !tcu->presence_sent; /* else it has just been resent */
    agent_tell(tcu, TCU_PROBE_ONLINE, 0, resumed);
    if (agent_rotation(tcu))
        agent_rotation_online(tcu);
    if (tcu->more)
        agent_shadow_online(tcu, resumed);
    agent_identity_accepted(tcu);
    agent_power_online(tcu);
    set_ping_interval(tcu);
}

/* A clean good-bye takes the will with it: say "offline" ourselves. A CONNECT nobody has answered yet: as in back_off(). */
static void stop(struct tcu *tcu, uint8_t from)
{
    tcu->telemetry_due_us = TIME_NEVER;
    if (from == TCU_CONNECTING) {
        agent_mqtt_abort(tcu);
        tcu->subscribed = 0;
    }
    if (from == TCU_ONLINE) {
        if (tcu->profile->topics.presence[0] && !agent_claiming(tcu))
            agent_mqtt_publish(tcu, TOKEN_ABSENCE, 0);
        agent_mqtt_disconnect(tcu, MQ5_SUCCESS);
        leave_online(tcu, MQ5_SUCCESS);
    }
    tcu->timer_us = TIME_NEVER;
    tcu->backoff = 0;
    tcu->attempts = 0;
}

static void reconnect(struct tcu *tcu)
{
    agent_mqtt_disconnect(tcu, MQ5_SUCCESS);
    leave_online(tcu, MQ5_SUCCESS);
    tcu->timer_us = tcu->now_us;
}

bool agent_enter(struct tcu *tcu, enum agent_event event, uint8_t reason, uint32_t detail)
{
    const struct agent_cell *cell = &agent_table[tcu->state][event];
    uint8_t from = tcu->state;
    ASSERT(cell->action != ACTION_BROKEN);
    if (cell->action == ACTION_IGNORE)
        return false;
    tcu->state = cell->next;
    switch ((enum agent_action)cell->action) {
    case ACTION_WAIT_NONE: tcu->timer_us = tcu->now_us; break;
    case ACTION_PROVISION: agent_identity_begin(tcu); break;
    case ACTION_OPEN: open_connection(tcu); break;
    case ACTION_ONLINE: go_online(tcu, detail != 0); break;
    case ACTION_BACK_OFF: back_off(tcu, from, event, reason, detail); break;
    case ACTION_RECONNECT: reconnect(tcu); break;
    case ACTION_STOP:
    case ACTION_SLEEP: stop(tcu, from); break;
    case ACTION_STAY:
    case ACTION_IGNORE:
    case ACTION_BROKEN: break;
    }
    return true;
}

void agent_timer_run(struct tcu *tcu)
{
    if (tcu->now_us < agent_timer(tcu))
        return;
    if (tcu->state != TCU_WAITING)
        agent_enter(tcu, AGENT_TIMEOUT, 0, 0);
    else
        agent_enter(tcu, agent_identity_ready(tcu) ? AGENT_ATTEMPT : AGENT_PROVISION, 0, 0);
}

/* Where the answers' topics are our own ones, our requests would come back, too. */
enum { FILTERS = 4 + AGENT_SHADOW_FILTERS };

static uint32_t filters(const struct tcu *tcu, struct mq5_subscription list[FILTERS],
                        char texts[FILTERS][AGENT_FILTER_MAX])
{
    uint32_t count = 0;
    struct mq5_subscription filter = {
        .qos = 1,
        /* a retained command would be refused anyhow */
        .retain_handling = agent_v5(tcu) ? MQ5_RETAIN_DO_NOT_SEND : MQ5_RETAIN_SEND,
    };
    list[count] = filter;
    list[count].filter = agent_text_expand(tcu->profile->topics.command_request, tcu_name(tcu), texts[0]);
    if (list[count].filter.length > 0 && !agent_claiming(tcu))
        count++;
    list[count] = filter;
    list[count].filter = agent_request_filter(tcu, texts[1]);
    list[count].no_local = agent_v5(tcu);
    if (list[count].filter.length > 0)
        count++;
    if (agent_claiming(tcu))
        return count;
    for (unsigned i = 0; tcu->profile->shadow && i < AGENT_SHADOW_FILTERS; i++) {
        list[count] = filter;
        list[count].filter = agent_shadow_filter(tcu, i, texts[4 + i]);
        count += list[count].filter.length > 0;
    }
    if (tcu->profile->executions) {
        list[count] = filter;
        list[count].filter = agent_command_execution_filter(tcu, texts[2]);
        count += list[count].filter.length > 0;
    }
    list[count] = filter;
    list[count].retain_handling = MQ5_RETAIN_SEND; /* what holds still is worth knowing */
    list[count].filter = agent_notice_filter(tcu, texts[3]);
    count += list[count].filter.length > 0;
    return count;
}

static void subscribe(struct tcu *tcu)
{
    char texts[FILTERS][AGENT_FILTER_MAX];
    struct mq5_subscription list[FILTERS];
    uint32_t count = filters(tcu, list, texts);
    tcu->subscribe_sent = 1;
    enum mq5_client_result result = agent_mqtt_subscribe(tcu, TOKEN_SUBSCRIBE, list, count);
    if (result != MQ5C_DONE)
        tcu->subscribe_sent = 0;
    tcu->want_subscribe = result == MQ5C_WAIT;
}

/* Refused: telemetry goes on; the next connection asks again. */
void agent_subscribed(struct tcu *tcu, bool granted)
{
    tcu->subscribe_sent = 0;
    tcu->subscribed = granted && !agent_claiming(tcu);
}

void agent_connection_pump(struct tcu *tcu)
{
    if (tcu->want_subscribe)
        subscribe(tcu);
    if (tcu->want_presence && tcu->state == TCU_ONLINE) {
        tcu->presence_sent = 1;
        enum mq5_client_result result = agent_mqtt_publish(tcu, TOKEN_PRESENCE, 0);
        if (result != MQ5C_DONE)
            tcu->presence_sent = 0;
        tcu->want_presence = result == MQ5C_WAIT;
    }
}

int64_t agent_distrust_after(const struct tcu *tcu)
{
    int64_t timeout_us = tcu->profile->acknowledge_timeout_us;
    uint32_t telemetry = agent_telemetry_oldest_sent(tcu), answer = tcu->slots ? agent_command_oldest_sent(tcu) : 0;
    bool greeting = tcu->subscribe_sent | tcu->presence_sent; /* sent when the connection began */
    if (timeout_us == 0 || (!telemetry && !answer && !greeting))
        return TIME_NEVER;
    uint32_t oldest = !answer || (telemetry && telemetry < answer) ? telemetry : answer;
    int64_t since_us = agent_unstamp(oldest);
    if (since_us < tcu->online_since_us || greeting)
        since_us = tcu->online_since_us; /* what was in flight before has been resent then */
    return since_us + timeout_us;
}

static void presence(const struct tcu *tcu, bool online, char *topic, struct mq5_publish *out)
{
    out->topic = agent_text_expand(tcu->profile->topics.presence, tcu_name(tcu), topic);
    out->payload = online ? SPAN_LITERAL("online") : SPAN_LITERAL("offline");
    out->retain = true;
}

void agent_presence_load(struct tcu *tcu, uint32_t token, struct mq5_publish *out)
{
    presence(tcu, token == TOKEN_PRESENCE, (char *)tcu->profile->scratch, out);
    out->qos = token == TOKEN_PRESENCE && tcu->peer_qos > 0 ? 1 : 0; /* "offline" is said on the way out */
}

static struct span template_or_name(const struct tcu *tcu, const char *text)
{
    return strcmp(text, "%") == 0 ? tcu_name(tcu) : span_text(text);
}

/* 5: the first connection of a new car begins clean, every other resumes. 3.1.1: a clean session dies with its link,
 * so only a car that does not want one asks for it. */
void agent_connect_fill(struct tcu *tcu, struct mq5_client_connect *connect, struct mq5_publish *will, char *buffer)
{
    const struct tcu_profile *profile = tcu->profile;
    bool keeps = profile->session_expiry_s > 0 && !agent_claiming(tcu);
    *connect = (struct mq5_client_connect){
        .clean_start = !keeps || (agent_v5(tcu) && !tcu->session_kept && !tcu->session_known),
        .keep_alive_s = wanted_keep_alive(tcu),
        .session_expiry_s = agent_session_expiry(tcu),
        .client_id = tcu_name(tcu),
        .user_name = template_or_name(tcu, profile->user_name),
        .password = span_text(profile->password),
        .request_problem_information = true,
        .session_kept = keeps && (tcu->session_kept || !agent_v5(tcu)),
    };
    if (!profile->topics.presence[0] || agent_claiming(tcu))
        return;
    memset(will, 0, sizeof(*will));
    presence(tcu, false, buffer, will);
    will->qos = 1;
    connect->will = will;
}
