/** Messages received by one authenticated peer from a sender in another process: the floor, the engine, the connector in turn. */
import { Child } from "./children.ts";
import { type Measured, type Options, Rows } from "./report.ts";

/** Kinds of messages. */
export type Kind = "scp" | "transaction" | "advert";

const NAMES: Record<Kind, string> = {
  scp: "SCP_MESSAGE",
  transaction: "TRANSACTION",
  advert: "FLOOD_ADVERT of 20 hashes",
};

async function run(options: Options, kind: Kind, variants: readonly string[], credit: boolean) {
  const rows = new Rows(variants);
  const perRound = (options.quick ? 40_000 : 150_000) / (kind === "advert" ? 2 : 1), rounds = options.quick ? 3 : 7;
  const sender = Child.ours("receive_child.ts", "sender");
  const receivers = [];
  for (const variant of variants) {
    const child = variant === "connector" ? Child.node("connector_child.cjs") : Child.ours("receive_child.ts", variant);
    const { port } = await child.ask({ do: "listen", credit, receive: true });
    receivers.push({ variant, child, port });
  }
  let bytes = 0;
  for (let round = -1; round < rounds; round++) {
    for (const { variant, child, port } of receivers) {
      const n = variant === "connector" ? perRound / 5 : perRound;
      ({ bytes } = await sender.ask({ do: "prepare", port, kind, n }));
      await child.ask({ do: "start", n });
      await sender.ask({ do: "send", obey: credit && variant !== "floor" });
      const result = await child.ask({ do: "result" });
      if (round >= 0) rows.add(variant, { "per second": result.perSecond, "CPU us": result.cpuUs });
    }
  }
  for (const { child } of receivers) child.stop();
  sender.stop();
  return { rows, bytes };
}

/** Messages of one kind, as many as the receiver can take: its grants are larger than a round. */
export async function receive(options: Options, kind: Kind): Promise<Measured> {
  const { rows, bytes } = await run(options, kind, ["floor", "ours", "connector"], false);
  return {
    name: `receive-${kind}`,
    title: `receive ${NAMES[kind]} (${bytes} bytes), grants never limit: CPU us per message`,
    rows: rows.result(),
    aims: [rows.aim("ours", "CPU us", "floor", 2, "CPU over MAC-only floor")],
  };
}

/** SCP messages under the default grants: the sender sends what it was granted and waits for more. */
export async function receiveWithCredit(options: Options): Promise<Measured> {
  const { rows, bytes } = await run(options, "scp", ["floor", "ours", "connector"], true);
  return {
    name: "receive-credit",
    title: `receive SCP_MESSAGE (${bytes} bytes) under default grants (200 messages, 40 at a time): CPU us per message`,
    rows: rows.result(),
    aims: [],
    notes: ["the floor knows no grants and is not limited; grants come in small pieces, so the reads are small too"],
  };
}
