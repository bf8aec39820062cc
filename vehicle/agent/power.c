/* power.c: ignition on and off. A power state decides how often the car reports and how long it stays silent. */
#include "agent_internal.h"

void tcu_ignition(struct tcu *tcu, int64_t now_us, bool on)
{
    uint8_t power = on ? TCU_DRIVING : TCU_PARKED;
    if (tcu->state == TCU_OFF || tcu->power == power)
        return;
    agent_begin(tcu, now_us);
    agent_telemetry_run(tcu); /* what was due in the old state is reported as of then */
    tcu->power = power & 1;
    agent_tell(tcu, TCU_PROBE_POWER, 0, power);
    agent_telemetry_schedule(tcu);
    agent_keep_alive_changed(tcu);
    agent_telemetry_run(tcu);
    agent_end(tcu);
}
