import assert from "node:assert/strict";
import { request } from "node:http";
import { connect, type Socket } from "node:net";
import { test } from "node:test";
import { systemClock } from "../overlay/base/clock.ts";
import { isFailure } from "../overlay/base/errors.ts";
import { openHttpDoor, type PageRequest } from "./http_door.ts";
import { answerWith } from "./pages.ts";

const HOST = "127.0.0.1";
const QUICK = { requestMs: 300, idleMs: 300 };

/** A door on a free port, closed with the test. */
async function withDoor(
  answer: Parameters<typeof openHttpDoor>[1],
  options: Partial<Parameters<typeof openHttpDoor>[2]>,
  use: (port: number) => Promise<void>,
): Promise<void> {
  const door = await openHttpDoor({ host: HOST, port: 0 }, answer, { clock: systemClock, ...options });
  try {
    await use(door.address.port);
  } finally {
    await door.close();
  }
}

function ask(port: number, path: string, options: { method?: string; body?: string } = {}) {
  return new Promise<{ status: number; headers: Record<string, unknown>; body: string }>((resolve, reject) => {
    const { method = "GET", body } = options;
    const asked = request({ host: HOST, port, path, method, headers: { connection: "close" } }, (response) => {
      let text = "";
      response.setEncoding("utf8").on("data", (chunk: string) => (text += chunk));
      response.on("close", () => reject(new Error("cut off")));
      response.on("end", () => resolve({ status: response.statusCode!, headers: response.headers, body: text }));
    });
    asked.on("error", reject);
    asked.end(body);
  });
}

/** A raw caller: what it got when the server ended the connection. */
function rawCaller(port: number, text: string): { socket: Socket; ended: Promise<string> } {
  const socket = connect(port, HOST);
  let got = "";
  socket.setEncoding("latin1").on("data", (chunk: string) => (got += chunk));
  socket.on("error", () => {});
  if (text !== "") socket.write(text);
  return { socket, ended: new Promise((resolve) => socket.on("close", () => resolve(got))) };
}

test("openHttpDoor answers GET and HEAD, and tells a page its path, query and Accept header", async () => {
  const seen: PageRequest[] = [];
  const answer = (asked: PageRequest) => {
    seen.push(asked);
    return { contentType: "text/plain", body: "grüße" };
  };
  await withDoor(answer, {}, async (port) => {
    const got = await ask(port, "/peers?fullkeys=true&x=%C3%BC");
    assert.deepEqual([got.status, got.body, got.headers["content-length"]], [200, "grüße", "7"]);
    assert.deepEqual([seen[0].path, seen[0].query.get("fullkeys"), seen[0].query.get("x")], ["/peers", "true", "ü"]);
    const head = await ask(port, "/", { method: "HEAD" });
    assert.deepEqual([head.status, head.body, head.headers["content-length"]], [200, "", "7"]);
  });
});

test("openHttpDoor refuses other methods without reading their body, and a page that throws is a 500", async () => {
  const errors: unknown[] = [];
  const answer = (): never => {
    throw new Error("secret detail");
  };
  await withDoor(answer, { onError: (error) => errors.push(error) }, async (port) => {
    const posted = await ask(port, "/", { method: "POST", body: "x" });
    assert.deepEqual([posted.status, posted.headers.allow], [405, "GET, HEAD"]);
    const huge = rawCaller(port, "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000000\r\n\r\nabc");
    assert.match(await huge.ended, /^HTTP\/1\.1 405/);
    const broken = await ask(port, "/");
    assert.equal(broken.status, 500);
    assert.doesNotMatch(broken.body, /secret/);
    assert.equal(errors.length, 1);
  });
});

test("openHttpDoor is bounded: headers, silence, slow headers and the number of connections", async () => {
  const limits = { ...QUICK, connections: 3, headerBytes: 2048 };
  await withDoor(() => ({ contentType: "text/plain", body: "ok" }), { limits }, async (port) => {
    const big = rawCaller(port, `GET / HTTP/1.1\r\nHost: x\r\nX: ${"a".repeat(5000)}\r\n\r\n`);
    assert.doesNotMatch(await big.ended, /200 OK/);
    // A caller that never speaks may stay with the system until it does: only those that speak fill the door.
    const callers = ["G", "GET / HTTP/1.1\r\nHost", "GET / HTTP/1.1\r\n"].map((text) => rawCaller(port, text));
    await Promise.all(callers.map(({ socket }) => new Promise((resolve) => socket.once("connect", resolve))));
    const fourth = rawCaller(port, "GET / HTTP/1.1\r\nHost: x\r\n\r\n");
    assert.equal(await fourth.ended, "", "no room");
    for (const { ended } of [...callers, rawCaller(port, "")]) assert.doesNotMatch(await ended, /200 OK/);
    assert.equal((await ask(port, "/")).status, 200, "and there is room again");
  });
});

test("openHttpDoor gives up on a reader that stops in the middle of an answer", async () => {
  const big = { contentType: "text/plain", body: "x".repeat(30_000_000) };
  const answer = ({ path }: PageRequest) => path === "/big" ? big : { contentType: "text/plain", body: "ok" };
  await withDoor(answer, { limits: { ...QUICK, connections: 1 } }, async (port) => {
    const { socket, ended } = rawCaller(port, "GET /big HTTP/1.1\r\nHost: x\r\n\r\n");
    await new Promise((resolve) => socket.once("data", resolve));
    socket.pause();
    // The only place is free again once the server has given up.
    let status = 0;
    while (status !== 200) status = await ask(port, "/").then((got) => got.status, () => 0);
    socket.destroy();
    await ended;
  });
});

test("openHttpDoor answers garbage with nothing that hurts", async () => {
  await withDoor(answerWith({}), { limits: QUICK }, async (port) => {
    for (
      const text of ["\0\0\0\0", "GET\r\n\r\n", "GET //\\..%zz?%%% HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"]
    ) {
      assert.doesNotMatch(await rawCaller(port, text).ended, /200 OK|at .*\.ts/);
    }
    assert.equal((await ask(port, "/__proto__")).status, 404);
  });
});

test("openHttpDoor: a busy port, and an address of another machine", async () => {
  await withDoor(answerWith({}), {}, async (port) => {
    await assert.rejects(
      openHttpDoor({ host: HOST, port }, answerWith({}), { clock: systemClock }),
      isFailure("port_in_use"),
    );
  });
  await assert.rejects(
    openHttpDoor({ host: "192.0.2.1", port: 0 }, answerWith({}), { clock: systemClock }),
    isFailure("listen_failed"),
  );
});

test("answerWith lists its pages at / and names them where there is none", () => {
  const pages = { "/a": { title: "the a", make: () => ({ contentType: "text/plain", body: "A" }) } };
  const ask = answerWith(pages);
  const at = (path: string) => ask({ path, query: new URLSearchParams(), accept: undefined });
  assert.equal(at("/a").body, "A");
  assert.match(at("/").body, /^\/a +the a\n$/);
  assert.deepEqual([at("/b").status, at("/b").body.includes("/a ")], [404, true]);
});
