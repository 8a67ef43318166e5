/** One side of the handshake benchmark: `floor`, `floor+grant` or `ours`, as `accepter` or `caller`. Started by handshake.ts. */
import process from "node:process";
import { systemClock } from "../overlay/base/clock.ts";
import { systemRandom } from "../overlay/base/random.ts";
import { LocalNode } from "../overlay/peer/local_node.ts";
import { Peer, type PeerHandlers } from "../overlay/peer/peer.ts";
import { TcpTransport } from "../overlay/transport/tcp.ts";
import type { Socket } from "../overlay/transport/transport.ts";
import { cpuUs, Meter, serve } from "./children.ts";
import { FIRST_GRANT, floorDial, type FloorIdentity, floorIdentity, floorListen, PASSPHRASE } from "./floor.ts";

/** Handshakes under way at once. */
const AT_ONCE = 50;
/** Nothing beyond the handshake is asked for: no SCP state, no ping. The first grant is part of it. */
const SETTINGS = { scpStateFrom: undefined, ping: false };

interface Side<Identity> {
  /** A new identity with its certificate issued. */
  identity(repeated: boolean): Identity;
  listen(identity: Identity, onAuth: () => void): Promise<number>;
  /** One handshake; `onAuth` is called when it is complete and our side of the connection was closed. */
  dial(port: number, identity: Identity, onAuth: () => void): void;
}

const floor: Side<FloorIdentity> = {
  identity: (repeated) => floorIdentity(repeated),
  listen: (identity, onAuth) => floorListen(identity, onAuth),
  dial: (port, identity, onAuth) =>
    void floorDial(port, identity, (peer) => {
      peer.socket.end();
      onAuth();
    }),
};

const floorWithGrant: Side<FloorIdentity> = {
  ...floor,
  identity: (repeated) => ({ ...floorIdentity(repeated), afterAuth: FIRST_GRANT }),
};

const transport = new TcpTransport();
const clock = systemClock, random = systemRandom;

function peer(
  socket: Socket,
  local: LocalNode,
  role: "weCalledRemote" | "remoteCalledUs",
  handlers: Partial<PeerHandlers>,
) {
  return new Peer({
    role,
    socket,
    local,
    clock,
    random,
    settings: SETTINGS,
    handlers: { onMessage() {}, onDropped() {}, ...handlers },
  });
}

const ours: Side<LocalNode> = {
  identity: () => {
    const local = new LocalNode({ passphrase: PASSPHRASE, clock, random });
    local.auth.cert();
    return local;
  },
  listen: async (local, onAuth) => {
    const listener = await transport.listen(
      { host: "127.0.0.1", port: 0 },
      (socket) => void peer(socket, local, "remoteCalledUs", { onAuthenticated: onAuth }),
    );
    return listener.address.port;
  },
  dial: (port, local, onAuth) =>
    void transport.dial({ host: "127.0.0.1", port }, { timeoutMs: 5000 }, {
      onFail: (failure) => {
        throw new Error(`dial: ${failure.code}`);
      },
      onConnect: (socket) =>
        void peer(socket, local, "weCalledRemote", {
          onAuthenticated: (peer) => {
            peer.close("done");
            onAuth();
          },
        }),
    }),
};

const [, , which, role] = process.argv;
// deno-lint-ignore no-explicit-any
const side = ({ floor, "floor+grant": floorWithGrant, ours } as Record<string, Side<any>>)[which];

if (role === "accepter") {
  const meter = new Meter();
  serve({
    listen: async ({ repeated }) => ({ port: await side.listen(side.identity(repeated), () => meter.hit()) }),
    start: ({ n }) => meter.start(n),
    result: () => meter.result(),
  });
} else {
  let identities: unknown[] = [];
  serve({
    prepare: ({ n, repeated }) => {
      identities = Array.from({ length: repeated ? 1 : n }, () => side.identity(repeated));
    },
    run: ({ port, n }) =>
      new Promise((resolve) => {
        const startedMs = performance.now(), cpu = cpuUs();
        let begun = 0, done = 0;
        const next = () => {
          if (begun === n) return;
          side.dial(port, identities[begun++ % identities.length], () => {
            if (++done === n) {
              resolve({ perSecond: n / ((performance.now() - startedMs) / 1000), cpuUs: (cpuUs() - cpu) / n });
            } else next();
          });
        };
        for (let i = 0; i < AT_ONCE; i++) next();
      }),
  });
}
