/**
 * Two Peers on one connection, on the simulated network or over TCP, and what each of them received: for tests of what two
 * nodes say to each other.
 */
import assert from "node:assert/strict";
import { readUint32, writeUint32 } from "../../overlay/base/bytes.ts";
import { type Clock, sleep, systemClock, VirtualClock } from "../../overlay/base/clock.ts";
import { SeededRandom } from "../../overlay/base/random.ts";
import { DEFAULT_FLOW_CONTROL, type FlowControlLimits } from "../../overlay/connection/flow_control.ts";
import type { LocalNodeOptions } from "../../overlay/peer/local_node.ts";
import { type Drop, Peer, type PeerSettings } from "../../overlay/peer/peer.ts";
import { testNode } from "../../overlay/peer/peer_test_remote.ts";
import { MemoryNetwork } from "../../overlay/transport/memory.ts";
import { TcpTransport } from "../../overlay/transport/tcp.ts";
import type { Socket, Transport } from "../../overlay/transport/transport.ts";
import { MessageType, type ReceivedMessage } from "../../overlay/wire/messages.ts";

/** How one end behaves. */
export interface SideOptions {
  limits?: Partial<FlowControlLimits>;
  settings?: Partial<PeerSettings>;
  node?: Partial<LocalNodeOptions>;
  /** Does what a node would with a message; its promise is the processing. */
  onMessage?: (side: Side, message: ReceivedMessage) => void | Promise<void>;
}

/** One end: a Peer, what it received, and the processing that a test holds back. */
export class Side {
  readonly peer: Peer;
  readonly received: Uint8Array[] = [];
  drop: Drop | undefined;
  /** True: messages are not processed before {@link finish}. */
  holds = false;
  #open: (() => void)[] = [];

  constructor(
    readonly socket: Socket,
    role: "weCalledRemote" | "remoteCalledUs",
    n: number,
    clock: Clock,
    o: SideOptions,
  ) {
    this.peer = new Peer({
      role,
      socket,
      local: testNode(clock, n, o.node),
      clock,
      random: new SeededRandom(n),
      settings: { scpStateFrom: undefined, flowControl: { ...DEFAULT_FLOW_CONTROL, ...o.limits }, ...o.settings },
      handlers: {
        onMessage: (peer, message) => {
          // A node answers pings; without it the idle timeout would end every connection first.
          if (message.type === MessageType.getScpQuorumset) {
            const reqHash = message.bytes.slice(4, 36);
            peer.send({ type: "dontHave", dontHave: { type: MessageType.scpQuorumset, reqHash } });
            return;
          }
          this.received.push(message.bytes.slice());
          if (this.holds) return new Promise<void>((done) => void this.#open.push(done));
          return o.onMessage?.(this, message);
        },
        onDropped: (_, drop) => void (this.drop = drop),
      },
    });
  }

  /** Messages being processed are done now. */
  finish(): void {
    for (const done of this.#open.splice(0)) done();
  }
  get reason(): string | undefined {
    return this.drop && `${this.drop.by}: ${this.drop.reason}`;
  }
  get flow() {
    return this.peer.flowControl;
  }
  /** Types received, in order. */
  get types(): number[] {
    return this.received.map((bytes) => readUint32(bytes, 0));
  }
}

/** Dials from A to B on any transport; resolves once both have granted. */
export function connect(clock: Clock, transport: Transport, host: string, a: SideOptions, b: SideOptions) {
  return new Promise<{ a: Side; b: Side; close: () => Promise<void> }>((resolve, reject) => {
    let far: Side | undefined;
    transport.listen({ host, port: 0 }, (socket) => void (far = new Side(socket, "remoteCalledUs", 2, clock, b))).then(
      (listener) =>
        transport.dial(listener.address, { timeoutMs: 5000 }, {
          onFail: reject,
          onConnect: async (socket) => {
            const near = new Side(socket, "weCalledRemote", 1, clock, a);
            while (!(near.peer.times.firstGrantMs !== undefined && far?.peer.times.firstGrantMs !== undefined)) {
              await sleep(clock, 1);
            }
            resolve({ a: near, b: far, close: () => listener.close() });
          },
        }),
      reject,
    );
  });
}

/** A calls B in virtual time; both are authenticated and have granted. */
export async function loopback(a: SideOptions = {}, b: SideOptions = a) {
  const clock = new VirtualClock();
  const network = new MemoryNetwork({ clock, faults: () => ({}) });
  const pair = await clock.run(connect(clock, network.transport("10.0.0.1"), "10.0.0.1", a, b));
  return { clock, ...pair };
}

/** A calls B over TCP; both are authenticated and have granted. */
export async function tcp(a: SideOptions, b: SideOptions = a) {
  return await connect(systemClock, new TcpTransport(), "127.0.0.1", a, b);
}

/** Lets real time pass until `until` holds. */
export async function eventually(until: () => boolean, what: string): Promise<void> {
  const endMs = systemClock.nowMs() + 10_000;
  while (!until()) {
    assert.ok(systemClock.nowMs() < endMs, `timed out: ${what}`);
    await sleep(systemClock, 1);
  }
}

/** A TRANSACTION of `bytes` bytes. */
export function tx(bytes: number, tag = 0): Uint8Array {
  const message = new Uint8Array(bytes);
  writeUint32(message, 0, MessageType.transaction);
  writeUint32(message, 4, 2);
  writeUint32(message, 8, tag);
  return message;
}
