/** `proxy`: stands between two nodes of one's own and shows what they say, both ways. */
import type { Command } from "commander";
import { escapeRemoteText } from "../../overlay/base/bytes.ts";
import { formatAddress, kindOfIp, parsePeerAddress } from "../../overlay/base/peer_address.ts";
import type { CaptureRecord } from "../../survey/capture/format.ts";
import { type CaptureFlags, captureOptions, startCapture } from "../capture.ts";
import { type CliContext, EXIT, type ExitCode, type Start } from "../context.ts";
import { listenAddress } from "../run/settings.ts";
import { duration, networkFlag, seedFlag, UsageError } from "../flags.ts";

/** What the command line says. */
export interface ProxyFlags extends CaptureFlags {
  listen: string;
  to: string;
  network: string;
  seedFile?: string;
  message?: string[];
  json?: boolean;
  for?: number;
  once?: boolean;
  yesRemote?: boolean;
}

/** Adds the command to the program. */
export function addProxy(program: Command, start: Start): void {
  const several = (text: string, before: string[] = []) => [...before, text];
  captureOptions(program.command("proxy"))
    .description("Stand between two nodes of your own and show what they say to each other.")
    .requiredOption("-l, --listen <host:port>", "where the calling node finds the proxy; port 0 takes a free one")
    .requiredOption("--to <host:port>", "the node that is called for it")
    .option("-n, --network <name>", "pubnet, testnet, futurenet, local, or a passphrase", "local")
    .option("--seed-file <file>", "the proxy's identity, which both nodes see (mode 600; default: a fresh one)")
    .option("-m, --message <type>", "show only messages of this type, such as SCP_MESSAGE; may be repeated", several)
    .option("--json", "NDJSON (schema stellar-overlay/frames/1)")
    .option("--for <time>", "stop after this long (default: until Ctrl-C)", duration)
    .option("--once", "stop when the last caller has left")
    .option("--yes-remote", "allow addresses beyond this machine and private networks: only for nodes that are yours")
    .addHelpText(
      "after",
      `
Both nodes authenticate to the proxy: each sees the proxy's node id with the other's versions and port. Messages pass as they
are, credit included; only sequence numbers and MACs are made anew. Point one node's KNOWN_PEERS at --listen.

Examples:
  stellar-overlay proxy --listen 127.0.0.1:21000 --to 127.0.0.1:11625
  stellar-overlay proxy --listen 127.0.0.1:21000 --to 10.0.0.5:11625 --network testnet --json --capture talk.cap`,
    )
    .action((flags: ProxyFlags) => start((ctx) => runProxy(flags, ctx)));
}

/** Runs the command. */
export async function runProxy(flags: ProxyFlags, outer: CliContext): Promise<ExitCode> {
  const { io } = outer;
  const listen = listenAddress("--listen", flags.listen, { host: "127.0.0.1", port: 0 });
  const target = parsePeerAddress(flags.to);
  const network = networkFlag(flags.network);
  const seed = seedFlag(flags.seedFile) ?? outer.random.bytes(32);
  const [host] = await outer.resolver.resolve(target.host);
  for (const [flag, address] of [["--listen", listen.host], ["--to", host]]) {
    const kind = kindOfIp(address);
    if (kind === "loopback" || kind === "private" || flags.yesRemote) continue;
    throw new UsageError(
      `${flag} ${address} is neither this machine nor a private network`,
      "a proxy is for nodes of your own; if it is yours, say --yes-remote",
    );
  }
  const [{ CaptureView, MESSAGE_NAMES }, { Proxy }, { LocalNode }, { eventJson, eventLine }, { paint }] = await Promise
    .all([
      import("../../survey/capture/view.ts"),
      import("../../survey/capture/proxy.ts"),
      import("../../overlay/peer/local_node.ts"),
      import("../render/frames.ts"),
      import("../render/style.ts"),
    ]);
  const messages = new Set((flags.message ?? []).map((name) => name.toUpperCase()));
  for (const name of messages) {
    if (!MESSAGE_NAMES.includes(name)) throw new UsageError(`--message ${name}: one of ${MESSAGE_NAMES.join(", ")}`);
  }
  // Each message is shown where it came in; it leaves on the other connection.
  const view = new CaptureView({ direction: "received", messages });
  const c = paint(io.outColour);
  const show = (record: CaptureRecord) => {
    const event = view.add(record);
    if (event !== undefined) io.out(flags.json ? eventJson(event) : eventLine(event, c));
  };
  const capture = startCapture(flags, outer, { command: "proxy", network: network.passphrase, also: show })!;
  const { ctx, recorder } = capture;
  const x25519Secret = capture.newSecret();
  const local = new LocalNode({
    passphrase: network.passphrase,
    clock: recorder,
    random: ctx.random,
    seed,
    x25519Secret,
  });
  capture.tellSecret(local.nodeId, x25519Secret);

  let finish = () => {};
  const finished = new Promise<void>((resolve) => (finish = resolve));
  const proxy = new Proxy({
    listen,
    to: { host, port: target.port },
    local,
    transport: ctx.transport,
    clock: ctx.clock,
    onProblem: (text) => io.err(`proxy: ${escapeRemoteText(text)}\n`),
    onClosed: (left) => {
      if (flags.once && left === 0) finish();
    },
  });
  const bound = await proxy.start();
  io.err(
    `proxy ${local.nodeIdText} listens on ${formatAddress(bound)}, calls ${
      formatAddress({ host, port: target.port })
    }\n`,
  );
  const limit = flags.for === undefined ? undefined : ctx.clock.setTimer(flags.for, finish);
  if (ctx.signal.aborted) finish();
  ctx.signal.addEventListener("abort", finish, { once: true });
  await finished;
  limit?.cancel();
  await proxy.stop();
  await capture.close();
  return EXIT.ok;
}
