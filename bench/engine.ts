/**
 * What a whole node costs per message: received, pulled by advert and demand, relayed, ignored; and per idle peer. Everything
 * over TCP, the node, its sender and the peers that only read in three processes.
 */
import { Child } from "./children.ts";
import { type Measured, type Options, Rows } from "./report.ts";

interface Receiver {
  variant: string;
  child: Child;
  port: number;
  /** The kind of messages it is sent. */
  kind: string;
  /** Messages per round, times what is given. */
  times?: number;
}

const settle = async (child: Child, peers: number) => {
  while ((await child.ask({ do: "peers" })).peers < peers) await new Promise((resolve) => setTimeout(resolve, 20));
};

async function node(variant: string, kind: string, options: { validator: boolean; sinks?: number }): Promise<Receiver> {
  const child = Child.ours("engine_child.ts", "engine");
  const { port } = await child.ask({ do: "listen", validator: options.validator, connections: 200 });
  if (options.sinks !== undefined) {
    await sinksOf().ask({ do: "dial", port, count: options.sinks });
    await settle(child, options.sinks);
  }
  return { variant, child, port, kind };
}

async function floor(variant: string, kind: string, verify: boolean): Promise<Receiver> {
  const child = Child.ours("engine_child.ts", "floor");
  return { variant, child, port: (await child.ask({ do: "listen", verify })).port, kind };
}

async function peerOnly(variant: string, kind: string): Promise<Receiver> {
  const child = Child.ours("receive_child.ts", "ours");
  return { variant, child, port: (await child.ask({ do: "listen", credit: false, receive: true })).port, kind };
}

let sinks: Child | undefined;
const sinksOf = () => (sinks ??= Child.ours("engine_child.ts", "sinks"));

/** Sends each receiver its messages in turn, round by round. */
async function inTurn(receivers: Receiver[], few: number, rounds: number): Promise<Rows<string>> {
  const rows = new Rows(receivers.map(({ variant }) => variant));
  const sender = Child.ours("engine_child.ts", "sender");
  let from = 1;
  for (let round = -1; round < rounds; round++) {
    for (const { variant, child, port, kind, times } of receivers) {
      const n = few * (times ?? 1);
      await sender.ask({ do: "prepare", port, kind, n, from });
      await child.ask({ do: "start", n });
      await sender.ask({ do: "send" });
      const result = await child.ask({ do: "result" });
      if (round >= 0) rows.add(variant, { "per second": result.perSecond, "CPU us": result.cpuUs });
    }
    from += few;
  }
  for (const { child } of receivers) child.stop();
  sender.stop();
  sinks?.stop();
  sinks = undefined;
  return rows;
}

/** SCP messages, all different and validly signed. */
export async function engineReceiveScp(options: Options): Promise<Measured> {
  const receivers = [
    await floor("floor", "scp", false),
    await floor("floor+verify", "scp", true),
    await peerOnly("peer", "scp"),
    await node("node", "scp", { validator: false }),
    await node("node, 8 relays", "scp", { validator: false, sinks: 8 }),
  ];
  const rows = await inTurn(receivers, options.quick ? 4000 : 10_000, options.quick ? 3 : 7);
  return {
    name: "engine-receive-scp",
    title: "a whole node receives SCP_MESSAGE, validly signed, all different: CPU us per message",
    rows: rows.result(),
    aims: [rows.aim("node", "CPU us", "floor+verify", 1.25, "CPU over a floor that verifies")],
    notes: ["a signature costs about 50 us, whoever checks it; `peer` hands the message on unread"],
  };
}

/** TRANSACTION by advert and demand, as the protocol has it, and what a watcher saves. */
export async function watcher(options: Options): Promise<Measured> {
  const receivers = [
    { ...await floor("floor, TRANSACTION", "transaction", false), times: 5 },
    { ...await node("watcher, TRANSACTION", "transaction", { validator: false }), times: 5 },
    await node("relay, TRANSACTION", "transaction", { validator: true }),
    { ...await floor("floor, FLOOD_ADVERT of 20", "advert", false), times: 5 },
    { ...await node("watcher, FLOOD_ADVERT of 20", "advert", { validator: false }), times: 5 },
    await node("relay, FLOOD_ADVERT of 20", "advert", { validator: true }),
    await node("relay, advert and demand", "pull", { validator: true }),
  ];
  const rows = await inTurn(receivers, options.quick ? 4200 : 16_800, options.quick ? 3 : 7);
  return {
    name: "watcher",
    title: "a watcher ignores transaction traffic, a relay processes it: CPU us per message",
    rows: rows.result(),
    aims: [rows.aim("watcher, TRANSACTION", "CPU us", "floor, TRANSACTION", 2, "TRANSACTION ignored, CPU over floor")],
    notes: [
      "TRANSACTION of 400 bytes, all different, unasked for, as a peer may send them",
      "advert and demand: an advert of 20 hashes, our demand, 20 transactions; per message received, demand rounds of 10 ms",
    ],
  };
}

/** One SCP message to 64 peers. */
export async function broadcast(options: Options): Promise<Measured> {
  const PEERS = 64, n = options.quick ? 500 : 1500, rounds = options.quick ? 3 : 7;
  const receivers = [await floor("floor", "", false), await node("node", "", { validator: false })];
  const rows = new Rows(receivers.map(({ variant }) => variant));
  for (const { child, port } of receivers) {
    await sinksOf().ask({ do: "dial", port, count: PEERS });
    await settle(child, PEERS);
  }
  let from = 1;
  for (let round = -1; round < rounds; round++) {
    for (const { variant, child } of receivers) {
      const result = await child.ask({ do: "broadcast", n, from });
      if (round >= 0) rows.add(variant, { "copies per second": result.perSecond, "CPU us": result.cpuUs });
      // The readers catch up before the next is measured.
      await new Promise((resolve) => setTimeout(resolve, 200));
    }
    from += n;
  }
  for (const { child } of receivers) child.stop();
  sinks?.stop();
  sinks = undefined;
  return {
    name: "broadcast",
    title: `SCP_MESSAGE broadcast to ${PEERS} peers, ten per turn of the event loop: CPU us per copy`,
    rows: rows.result(),
    aims: [rows.aim("node", "CPU us", "floor", 1.5, "CPU over floor")],
    notes: [
      "the floor: one frame and MAC per copy, one write per peer and turn; the node also asks who knows the message",
    ],
  };
}

/** Memory of connected peers that say nothing. */
export async function memory(options: Options): Promise<Measured> {
  const VARIANTS = ["floor", "node"], PEERS = 500, rounds = options.quick ? 1 : 3;
  const rows = new Rows(VARIANTS);
  for (let round = 0; round < rounds; round++) {
    for (const variant of VARIANTS) {
      const child = Child.ours("engine_child.ts", variant === "floor" ? "floor" : "engine");
      const { port } = await child.ask({ do: "listen", verify: false, validator: true, connections: PEERS + 100 });
      const readers = Child.ours("engine_child.ts", "sinks");
      // The first hundred also pay for code and pools.
      await readers.ask({ do: "dial", port, count: 100 });
      await settle(child, 100);
      const before = (await child.ask({ do: "rss" })).rss;
      await readers.ask({ do: "dial", port, count: PEERS });
      await settle(child, PEERS + 100);
      const { rss } = await child.ask({ do: "rss" });
      rows.add(variant, { "KiB per peer": (rss - before) / PEERS / 1024, "RSS MiB": rss / 1024 / 1024 });
      child.stop();
      readers.stop();
    }
  }
  return {
    name: "memory",
    title: `resident memory per idle authenticated peer, ${PEERS} peers after the first 100`,
    rows: rows.result(),
    aims: [],
    notes: ["a peer that never reads: tests/scenarios/unread_answers_test.ts"],
  };
}
