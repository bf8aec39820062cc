# lib_port.sh: what scripts that need ports share. Sourced, not run.
# shellcheck shell=bash

# free_port: one on 127.0.0.1 that nobody listens on, below those that the kernel gives to outgoing connections: none of them takes it
# before it is used.
free_port() {
    node -e '
        const attempt = (left) => {
            const server = require("net").createServer();
            server.once("error", (error) => { if (left === 0) throw error; attempt(left - 1); });
            server.listen(10000 + Math.floor(Math.random() * 22000), "127.0.0.1", () => { console.log(server.address().port); server.close(); });
        };
        attempt(50);'
}
