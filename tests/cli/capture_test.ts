/** The commands over real sockets: what a live session printed, its capture prints again, byte by byte. */
import assert from "node:assert/strict";
import { existsSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { buildProgram } from "../../cli/app.ts";
import { type CliContext, EXIT, type ExitCode } from "../../cli/context.ts";
import { UsageError } from "../../cli/flags.ts";
import { systemClock } from "../../overlay/base/clock.ts";
import { isFailure } from "../../overlay/base/errors.ts";
import { systemRandom } from "../../overlay/base/random.ts";
import { initPrimitives } from "../../overlay/crypto/primitives.ts";
import { systemResolver, TcpTransport } from "../../overlay/transport/tcp.ts";
import { allSessions, loadSession } from "../kit/fixtures.ts";
import { ROOT, runTool, temporaryFolder } from "../kit/tool.ts";

const folder = temporaryFolder();
const fixture = (name: string) => join(ROOT, "tests", "fixtures", `${name}.ndjson`);

/** A command under way in this process. */
function start(args: string[], input: Uint8Array = new Uint8Array(0)) {
  let out = "", err = "";
  const watchers = new Set<() => void>();
  const interruption = new AbortController();
  const add = (which: "out" | "err") => (text: string) => {
    if (which === "out") out += text;
    else err += text;
    for (const watcher of watchers) watcher();
  };
  const ctx = {
    io: {
      out: add("out"),
      err: add("err"),
      readInput: () => Promise.resolve(new TextDecoder().decode(input)),
      readInputBytes: () => Promise.resolve(input),
      outIsTerminal: false,
      errIsTerminal: false,
      inIsTerminal: true,
      columns: undefined,
      outColour: false,
      errColour: false,
      outClosed: false,
    },
    clock: systemClock,
    random: systemRandom,
    transport: new TcpTransport(),
    resolver: systemResolver,
    env: {},
    signal: interruption.signal,
  } as unknown as CliContext;
  let status: ExitCode = EXIT.ok;
  const program = buildProgram(async (run) => void (status = await run(ctx)));
  const done = program.parseAsync(args, { from: "user" }).then(() => ({ status, out, err }));
  done.catch(() => {});
  return {
    done,
    stop: () => interruption.abort(),
    /** The first group of `pattern` in what is said on stderr, as soon as it is there. */
    said: (pattern: RegExp) =>
      new Promise<string>((resolve, reject) => {
        const look = () => {
          const found = pattern.exec(err);
          if (found !== null) {
            watchers.delete(look);
            resolve(found[1]);
          }
        };
        watchers.add(look);
        done.catch(reject);
        look();
      }),
  };
}
/** A report without its length: when the promise of a visit that is over continues is this process's affair, and not captured. */
const withoutEnd = (line: string) => line.replace(/"durationMs":[\d.]+,"attempts"/, '"attempts"');
const run = (args: string[], input?: Uint8Array) => start(args, input).done;

test("proxy --json --capture, then replay --json: the same bytes; connect on the capture: the same report", async () => {
  await initPrimitives();
  const proxied = join(folder, "proxied.cap"), called = join(folder, "called.cap");
  const server = start(["replay", fixture("caller-flood"), "--serve", "127.0.0.1:0"]);
  const at = await server.said(/on (127\.0\.0\.1:\d+),/);
  const proxy = start(
    ["proxy", "--listen", "127.0.0.1:0", "--to", at, "--json", "--once", "--capture", proxied, "--with-secrets"],
  );
  const via = await proxy.said(/listens on (127\.0\.0\.1:\d+),/);
  const connect = await run(["connect", via, "--network", "local", "--ndjson", "--ping", "2", "--capture", called]);
  assert.equal(connect.status, EXIT.ok);
  const live = await proxy.done;
  await server.done;
  assert.ok(live.out.split("\n").length > 10);
  const again = await run(["replay", proxied, "--json"]);
  assert.deepEqual([again.status, again.err], [EXIT.ok, ""]);
  assert.equal(again.out, live.out);
  assert.match(live.out, /^\{"schema":"stellar-overlay\/frames\/1","type":"start"/);
  assert.doesNotMatch(live.out, /"mac":"(mac|sequence)"/);
  assert.match(live.out, /"mac":"ok"/);
  if (process.platform !== "win32") assert.equal(statSync(proxied).mode & 0o777, 0o600);

  // At ten times the speed and at the highest: the same.
  assert.equal((await run(["replay", proxied, "--json", "--speed", "100x"])).out, live.out);

  const report = await run(["replay", called, "--as", "connect", "--", "--ndjson", "--ping", "2"]);
  assert.deepEqual([report.status, report.err], [EXIT.ok, ""]);
  assert.equal(withoutEnd(report.out), withoutEnd(connect.out));
});

test("watch --json --capture of three nodes at once, then replay --as watch: the same bytes, summary included", async () => {
  const path = join(folder, "watched.cap");
  const servers = [1, 2, 3].map((n) =>
    start(["replay", fixture(`watch/peer-${n}`), "--serve", "127.0.0.1:0", "--speed", "30x"])
  );
  const at = await Promise.all(servers.map((server) => server.said(/on (127\.0\.0\.1:\d+),/)));
  const args = ["--json", "--no-db", "--network", "local"];
  // The status of every second and a ping of every connection are in it: timers are repeated to the microsecond too.
  const live = await runTool(["watch", ...at, ...args, "--for", "6s", "--capture", path]);
  assert.equal(live.status, 0, live.err);
  for (const server of servers) await server.done;
  const lines = live.out.trimEnd().split("\n").map((line) => JSON.parse(line));
  assert.ok(lines.filter(({ type, message }) => type === "message" && message === "SCP_MESSAGE").length > 900);
  assert.equal(lines.at(-1).peers.length, 3);
  assert.ok(lines.at(-1).peers.every(({ rttMs }: { rttMs: unknown }) => typeof rttMs === "number"));
  const again = await runTool(["replay", path, "--as", "watch", "--", ...args]);
  assert.equal(again.status, 0, again.err);
  assert.equal(again.out, live.out);
  // Another question to the same capture.
  const slots = await runTool([
    "replay",
    path,
    "--as",
    "watch",
    "--",
    ...args,
    "--type",
    "externalize",
    "--no-summary",
  ]);
  const wanted = live.out.split("\n").filter((line) => line.includes('"statement":"externalize"'));
  assert.deepEqual(slots.out.split("\n").filter((line) => line.includes('"type":"message"')), wanted);
});

test("a name that was looked up is looked up again in a replay, at its time", async () => {
  const path = join(folder, "named.cap");
  const server = start(["replay", fixture("full"), "--serve", "127.0.0.1:0"]);
  const port = await server.said(/on 127\.0\.0\.1:(\d+),/);
  const args = ["connect", `localhost:${port}`, "--network", "local", "--ndjson"];
  const live = await run([...args, "--capture", path]);
  await server.done;
  assert.match(live.out, /"state":"full"/);
  const again = await run(["replay", path, "--as", "connect", "--", ...args.slice(1)]);
  assert.equal(withoutEnd(again.out), withoutEnd(live.out));
  assert.match((await run(["replay", path])).out, /localhost is 127\.0\.0\.1/);
});

test("the recorded sessions replay as lines, one by one and five merged by their clocks", async () => {
  for (const session of allSessions()) {
    const { status, out } = await run(["replay", fixture(session.name), "--json"]);
    assert.equal(status, EXIT.ok);
    const events = out.trimEnd().split("\n").map((line) => JSON.parse(line));
    const messages = events.filter((event) => event.type === "message");
    assert.equal(messages.length, session.frames.length, session.name);
    assert.ok(messages.every((event) => event.mac === "ok" || event.mac === null));
  }
  const five = [1, 2, 3, 4, 5].map((n) => fixture(`watch/peer-${n}`));
  const { out } = await run(["replay", ...five, "--json", "--direction", "received", "--message", "SCP_MESSAGE"]);
  const events = out.trimEnd().split("\n").map((line) => JSON.parse(line));
  const expected = [1, 2, 3, 4, 5].flatMap((n) =>
    loadSession(`watch/peer-${n}`).frames.filter((frame) => frame.dir === "in" && frame.type === "scpMessage")
  );
  assert.equal(events.length, expected.length);
  assert.ok(events.every((event, i) => i === 0 || event.ms >= events[i - 1].ms));
  assert.deepEqual([...new Set(events.map((event) => event.connection))].sort(), [1, 2, 3, 4, 5]);
});

test("replay tells damage and goes on; what is no capture is refused", async () => {
  const path = join(folder, "called.cap");
  if (!existsSync(path)) return;
  const whole = (await run(["replay", path])).out;
  const bytes = readFileSync(path);
  const torn = join(folder, "torn.cap");
  writeFileSync(torn, bytes.subarray(0, bytes.length - 3));
  const { status, out, err } = await run(["replay", torn]);
  assert.equal(status, EXIT.partial);
  assert.match(err, /torn\.cap: the file ends inside a record/);
  assert.ok(whole.startsWith(out) && out.length > whole.length - 200);
  await assert.rejects(run(["replay", join(ROOT, "package.json")]), isFailure("capture_invalid"));
  await assert.rejects(run(["replay", join(folder, "nothing.cap")]), isFailure("file_unreadable"));
});

test("decode: hex, base64, binary and text on stdin, a capture; broken ones by status and place", async () => {
  const { bytes } = loadSession("full").frames[0];
  const hex = Buffer.from(bytes).toString("hex");
  const first = await run(["decode", hex]);
  assert.equal(first.status, EXIT.ok);
  assert.match(first.out, /^#1 HELLO, frame at byte 0, 304 bytes\n {7}0 {2}recordMark {2}300 bytes follow/);
  for (
    const input of [
      bytes,
      new TextEncoder().encode(hex),
      new TextEncoder().encode(Buffer.from(bytes).toString("base64")),
    ]
  ) {
    assert.equal((await run(["decode"], input)).out, first.out);
  }
  const dump = (await run(["decode", "--hex", hex])).out;
  assert.match(dump, /^00000060 {2}00 00 00 00 61 58 43 e1 .* message\.hello\.peerId {2}G/m);
  const cut = await run(["decode", hex.slice(0, 200)]);
  assert.equal(cut.status, EXIT.failed);
  assert.match(cut.out, /! byte 4, at frame: the mark promises 300 bytes, 96 left/);
  const broken = await run(["decode", hex + hex.replace("0000000061584", "0000000761584")]);
  assert.equal(broken.status, EXIT.partial);
  assert.match(broken.out, /! byte 400, at message\.hello\.peerId: unknown public key type 7/);
  const document = JSON.parse((await run(["decode", "--json", hex])).out);
  assert.deepEqual([document.schema, document.form, document.bytes, document.items.length], [
    "stellar-overlay/decode/1",
    "hex",
    304,
    1,
  ]);
  assert.equal(document.items[0].fields[0].name, "recordMark");
  const capture = await run(["decode", join(folder, "proxied.cap"), "--message", "AUTH", "--ndjson"]);
  const auths = capture.out.trimEnd().split("\n").map((line) => JSON.parse(line));
  assert.equal(auths.length, 4);
  assert.ok(auths.every((item) => item.mac === "ok" && item.problem === null));
  // The offsets are those of the file.
  const file = readFileSync(join(folder, "proxied.cap"));
  for (const { offset } of auths) assert.equal(file.readUInt32BE(offset + 16), 2);
  await assert.rejects(run(["decode", "no/such/file"]), UsageError);
  await assert.rejects(run(["decode", "--type", "NoSuchType", hex]), /no XDR type of that name/);
  await assert.rejects(run(["decode"], new Uint8Array(0)), /the input is empty/);
});

test("wrong use is told: secrets without a capture, a proxy to strangers, a file of something else", async () => {
  await assert.rejects(run(["connect", "127.0.0.1:1", "--with-secrets"]), /give --capture FILE/);
  await assert.rejects(
    run(["proxy", "--listen", "127.0.0.1:0", "--to", "198.51.100.7:11625"]),
    /neither this machine nor a private network/,
  );
  await assert.rejects(
    run(["connect", "127.0.0.1:1", "--capture", join(ROOT, "package.json")]),
    isFailure("capture_invalid"),
  );
  await assert.rejects(run(["replay", fixture("full"), "--speed", "fast"]), /write max, 1x/);
  await assert.rejects(run(["replay", fixture("full"), "--message", "SCP"]), /one of/);
  await assert.rejects(
    run(["replay", fixture("full"), "--serve", "1", "--connection", "9"]),
    isFailure("invalid_argument"),
  );
});
