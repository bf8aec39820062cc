/* paho_nudge.c: wakes Paho's sending thread once more; see paho.h. */
#include "paho.h"

#include <MQTTAsync.h>
#include <pthread.h>

static MQTTAsync sleeper; /* never connected; lives as long as the process, like Paho's threads */
static pthread_once_t made = PTHREAD_ONCE_INIT;

static void make_sleeper(void)
{
    MQTTAsync_createOptions options = MQTTAsync_createOptions_initializer5;
    options.sendWhileDisconnected = 1;
    options.allowDisconnectedSendAtAnyTime = 1;
    options.maxBufferedMessages = 1;
    options.deleteOldestMessages = 1;
    if (MQTTAsync_createWithOptions(&sleeper, "tcp://127.0.0.1:1", "convoy-nudge", MQTTCLIENT_PERSISTENCE_NONE, NULL, &options) !=
        MQTTASYNC_SUCCESS)
        sleeper = NULL; /* then a publish may be up to a second late, as without it */
}

void paho_nudge_ready(void)
{
    pthread_once(&made, make_sleeper);
}

void paho_nudge(void)
{
    MQTTAsync_message message = MQTTAsync_message_initializer;
    MQTTAsync_responseOptions options = MQTTAsync_responseOptions_initializer;
    message.payload = "";
    if (sleeper)
        MQTTAsync_sendMessage(sleeper, "nudge", &message, &options);
}
