// Loaded into Azurite before its own code: when the process that started it is gone, however it ended, it stops as if it
// had been asked to. SIGINT is what its Table service listens to; only then it writes what it still holds in memory.
let asked = false;
function stop() {
  if (!asked) process.kill(process.pid, "SIGINT");
  asked = true;
}
process.stdin.on("end", stop);
process.stdin.on("error", stop);
process.stdin.resume();
process.stdin.unref?.();
