/* Runs Perfetto's own trace processor, the WebAssembly that its page loads, under Node.
 *
 * Its JavaScript takes itself to be in a worker of a browser, so it gets what it looks for there. What is on
 * stdin goes to its RPC, and what that replies, to stdout: each reply behind its length.
 */
const fs = require("fs"), path = require("path"), vm = require("vm");

process.on("uncaughtException", (error) => {
  fs.writeSync(2, `\n${error.stack || error}`.slice(0, 600));
  process.exit(1);
});
const folder = process.argv[2];
const load = (name) => fs.readFileSync(path.join(folder, path.basename(name)));

class Request { // in place of XMLHttpRequest, for files of the folder only
  open(_method, name) { this.name = name; }
  send() { this.status = 200; this.response = new Uint8Array(load(this.name)).buffer; this.onload?.(); }
}

const self = { location: { href: "file:///" } };
vm.runInNewContext(load("engine_bundle.js").toString(), {
  self, location: self.location, console: { log() {}, warn() {}, error() {} }, importScripts() {},
  WorkerGlobalScope: class {}, XMLHttpRequest: Request, WebAssembly, Error, TypeError, RangeError, Uint8Array, TextDecoder, TextEncoder, URL, performance, setTimeout,
});

const port = {
  postMessage(bytes) {
    const size = Buffer.alloc(4);
    size.writeUInt32LE(bytes.length);
    for (const part of [size, bytes]) for (let done = 0; done < part.length;) done += fs.writeSync(1, part, done);
  },
};
self.onmessage({ data: port });
setTimeout(() => { // the module begins behind what waits for it
  port.onmessage({ data: new Uint8Array(fs.readFileSync(0)) });
  process.exit(0);
}, 0);
