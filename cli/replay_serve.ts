/** `replay --serve`: the recorded remote, for one caller. */
import { toHex } from "../overlay/base/bytes.ts";
import { formatAddress } from "../overlay/base/peer_address.ts";
import { networkIdOf, NETWORKS } from "../overlay/base/networks.ts";
import { LocalNode } from "../overlay/peer/local_node.ts";
import { partOf, PartServer } from "../survey/capture/server.ts";
import type { CaptureRecord } from "../survey/capture/format.ts";
import type { ReplayFlags } from "./commands/replay.ts";
import { type CliContext, EXIT, type ExitCode } from "./context.ts";
import { seedFlag, UsageError } from "./flags.ts";
import { listenAddress } from "./run/settings.ts";

/** Serves until the caller or the recording ends it. @throws OverlayError as the reader and the listener */
export async function serveReplay(
  records: Iterable<CaptureRecord>,
  flags: ReplayFlags,
  path: string,
  ctx: CliContext,
): Promise<ExitCode> {
  let network = "";
  const part = partOf(
    (function* () {
      for (const record of records) {
        if (record.type === "start") network ||= record.start.network;
        yield record;
      }
    })(),
    flags.connection,
  );
  // The remote's own HELLO knows best on which network it is.
  const id = part.hello && toHex(part.hello.networkId);
  const passphrase = [...NETWORKS.map((known) => known.passphrase), network].find((text) => networkIdOf(text) === id) ??
    network;
  if (passphrase === "") throw new UsageError(`${path} does not say on which network it was made`);
  const { clock, random, io } = ctx;
  const seed = seedFlag(flags.seedFile) ?? random.bytes(32);
  const local = new LocalNode({ passphrase, clock, random, seed });
  const server = new PartServer({
    part,
    local,
    transport: ctx.transport,
    listen: listenAddress("--serve", flags.serve!, { host: "127.0.0.1", port: 0 }),
    clock,
    speed: flags.speed,
  });
  const bound = await server.start();
  io.err(`${local.nodeIdText} plays ${part.remote} on ${formatAddress(bound)}, for one caller\n`);
  const stop = () => void server.stop();
  if (ctx.signal.aborted) stop();
  ctx.signal.addEventListener("abort", stop, { once: true });
  const { said, of, end } = await server.finished;
  io.err(`${said} of ${of} messages said; ${end}\n`);
  return ctx.signal.aborted ? EXIT.interrupted : EXIT.ok;
}
