/**
 * @stellarbeat/js-stellar-node-connector under Node, as an independent implementation to compare with: the same questions as
 * handshake_child.ts and receive_child.ts answer.
 */
const { createInterface } = require("node:readline");
const { createNode } = require("@stellarbeat/js-stellar-node-connector");

const PASSPHRASE = "Standalone Network ; February 2017";
const AT_ONCE = 50;
const silent = { child: () => silent, trace() {}, debug() {}, info() {}, warn() {}, error() {} };

function cpuUs() {
  const { user, system } = process.cpuUsage();
  return user + system;
}

function identity() {
  const node = createNode({
    network: PASSPHRASE,
    nodeInfo: { ledgerVersion: 28, overlayVersion: 41, overlayMinVersion: 38, versionString: "connector" },
    listeningPort: 11625,
    receiveTransactionMessages: true,
    receiveSCPMessages: true,
    peerFloodReadingCapacity: 200,
    flowControlSendMoreBatchSize: 40,
    peerFloodReadingCapacityBytes: 300000,
    flowControlSendMoreBatchSizeBytes: 100000,
  }, silent);
  node.connectionAuthentication.getAuthCert(new Date());
  return node;
}

const meter = {
  start(n) {
    Object.assign(this, { count: 0, wanted: n, startedMs: 0, cpu: cpuUs() });
    this.promise = new Promise((resolve) => (this.done = resolve));
  },
  hit() {
    if (this.count++ === 0) this.startedMs = performance.now();
    if (this.count !== this.wanted) return;
    const seconds = (performance.now() - this.startedMs) / 1000;
    this.done({ perSecond: this.wanted / seconds, cpuUs: (cpuUs() - this.cpu) / this.wanted });
  },
};

function listen(onConnection) {
  const node = identity();
  return new Promise((resolve) => {
    node.on("connection", (connection) => {
      connection.on("error", () => {});
      connection.on("timeout", () => {});
      onConnection(connection);
    });
    node.on("listening", () => resolve({ port: node.server.address().port }));
    node.acceptIncomingConnections(0, "127.0.0.1");
  });
}

let identities = [];
const handlers = {
  start: ({ n }) => meter.start(n),
  result: () => meter.promise,
  listen: ({ receive }) =>
    listen((connection) => {
      if (!receive) connection.on("connect", () => meter.hit());
      else {
        connection.on("data", (job) => {
          job.done();
          meter.hit();
        });
      }
    }),
  prepare: ({ n, repeated }) => {
    identities = Array.from({ length: repeated ? 1 : n }, identity);
  },
  run: ({ port, n }) =>
    new Promise((resolve) => {
      const startedMs = performance.now(), cpu = cpuUs();
      let begun = 0, done = 0;
      const next = () => {
        if (begun === n) return;
        const connection = identities[begun++ % identities.length].connectTo("127.0.0.1", port);
        connection.on("error", () => {});
        connection.on("connect", () => {
          setImmediate(() => connection.end()); // it still has its first grant to write
          if (++done === n) {
            resolve({ perSecond: n / ((performance.now() - startedMs) / 1000), cpuUs: (cpuUs() - cpu) / n });
          } else next();
        });
      };
      for (let i = 0; i < AT_ONCE; i++) next();
    }),
};

createInterface({ input: process.stdin }).on("line", async (line) => {
  const question = JSON.parse(line);
  let answer;
  try {
    answer = (await handlers[question.do](question)) ?? {};
  } catch (error) {
    answer = { error: String(error) };
  }
  process.stdout.write(JSON.stringify(answer) + "\n");
}).on("close", () => process.exit(0));
