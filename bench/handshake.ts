/** Handshakes between two processes, 50 at a time: the floor, the engine and the connector in turn. */
import { Child } from "./children.ts";
import { type Measured, type Options, Rows } from "./report.ts";

const VARIANTS = ["floor", "floor+grant", "ours", "connector"] as const;

/**
 * Handshakes of each process before the first that counts. The runtimes go on compiling for about that long, on threads that
 * count as CPU of the process: the first 2,000 handshakes cost twice as much as those after 16,000, floor and engine alike.
 */
const WARM_UP = 16_000;
/** The connector gains nothing after so many. */
const CONNECTOR_WARM_UP = 4000;

/** Runs the benchmark; `repeated` uses one identity on each side, so that both may use what they computed before. */
export async function handshake(options: Options, repeated: boolean): Promise<Measured> {
  const rows = new Rows(VARIANTS);
  const perRound = options.quick ? 1000 : 1500, rounds = options.quick ? 3 : 7;
  const sides = [];
  for (const variant of VARIANTS) {
    const make = (role: string) =>
      variant === "connector"
        ? Child.node("connector_child.cjs", role)
        : Child.ours("handshake_child.ts", variant, role);
    const accepter = make("accepter"), caller = make("caller");
    const { port } = await accepter.ask({ do: "listen", repeated });
    sides.push({ variant, accepter, caller, port });
  }
  for (const { variant, accepter, caller, port } of sides) {
    const n = variant === "connector" ? CONNECTOR_WARM_UP : WARM_UP;
    await caller.ask({ do: "prepare", n: 1, repeated: true });
    await accepter.ask({ do: "start", n });
    await caller.ask({ do: "run", port, n });
    await accepter.ask({ do: "result" });
  }
  for (let round = -1; round < rounds; round++) {
    for (const { variant, accepter, caller, port } of sides) {
      const n = variant === "connector" ? Math.ceil(perRound / 3) : perRound;
      if (round < 0 || !repeated) await caller.ask({ do: "prepare", n, repeated });
      await accepter.ask({ do: "start", n });
      const called = await caller.ask({ do: "run", port, n });
      const accepted = await accepter.ask({ do: "result" });
      if (round < 0) continue;
      rows.add(variant, { "per second": called.perSecond, "caller us": called.cpuUs, "accepter us": accepted.cpuUs });
    }
  }
  for (const { accepter, caller } of sides) {
    accepter.stop();
    caller.stop();
  }
  const what = repeated ? "one identity each side" : "new caller identity each time";
  return {
    name: repeated ? "handshake-repeated" : "handshake-new",
    title: `handshake, 50 at a time, ${what}: CPU us per side`,
    rows: rows.result(),
    aims: repeated ? [] : [
      rows.aim("ours", "caller us", "floor", 1.25, "caller CPU over floor"),
      rows.aim("ours", "accepter us", "floor", 1.25, "accepter CPU over floor"),
    ],
    notes: ["floor+grant also sends the first grant, which every node owes after AUTH: a third write for the caller"],
  };
}
