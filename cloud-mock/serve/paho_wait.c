/* paho_wait.c: keeps Paho's sending thread from sleeping over a message.
 *
 * Paho 1.3.12 wakes its one sending thread by a condition variable and can miss the moment (its issue 1039: the signal comes between the look into the
 * command list and the wait, or the command cannot be taken yet). The thread then sleeps until its time-out of a second, and every publish of an idle
 * service is up to a second late: a rig that measures command latency would measure that. POSIX allows a wait on a condition variable to return
 * without a signal, so this program's pthread_cond_timedwait() does just that to this one thread, after at most WAIT_NS; all other waits are passed on
 * unchanged. Costs some 500 wake-ups a second while a remote bus exists.
 */
#define _GNU_SOURCE
#include "paho.h"

#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
#include <time.h>

#define WAIT_NS 2000000

typedef int timedwait(pthread_cond_t *, pthread_mutex_t *, const struct timespec *);

static timedwait *real_timedwait;

/* On x86-64 an unversioned look-up may find the condition variables of before 2003, which are another structure. */
static timedwait *find_timedwait(void)
{
    timedwait *found = (timedwait *)dlvsym(RTLD_NEXT, "pthread_cond_timedwait", "GLIBC_2.3.2");
    return found ? found : (timedwait *)dlsym(RTLD_NEXT, "pthread_cond_timedwait");
}

static bool is_sending_thread(void)
{
    static _Thread_local int known; /* 0: not looked yet, 1: yes, 2: no */
    char name[32] = "";
    if (!known || known == 2) { /* Paho names its thread after it has started */
        pthread_getname_np(pthread_self(), name, sizeof(name));
        known = strcmp(name, "MQTTAsync_send") == 0 ? 1 : 2;
    }
    return known == 1;
}

static bool before(const struct timespec *a, const struct timespec *b)
{
    return a->tv_sec < b->tv_sec || (a->tv_sec == b->tv_sec && a->tv_nsec < b->tv_nsec);
}

int pthread_cond_timedwait(pthread_cond_t *condition, pthread_mutex_t *mutex, const struct timespec *until)
{
    struct timespec soon;
    if (!real_timedwait)
        real_timedwait = find_timedwait();
    if (!is_sending_thread())
        return real_timedwait(condition, mutex, until);
    clock_gettime(CLOCK_REALTIME, &soon);
    soon.tv_nsec += WAIT_NS;
    if (soon.tv_nsec >= 1000000000) {
        soon.tv_nsec -= 1000000000;
        soon.tv_sec++;
    }
    if (!before(&soon, until))
        return real_timedwait(condition, mutex, until);
    int result = real_timedwait(condition, mutex, &soon);
    return result == ETIMEDOUT ? 0 : result;
}

void paho_wait_ready(void)
{
    real_timedwait = find_timedwait();
}
