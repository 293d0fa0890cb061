/**
 * Resolves at the first SIGINT or SIGTERM. npm forwards the SIGINT that the terminal also sends to the whole process
 * group, so signals within 500 ms count as one; a later one ends the process at once with exit code 130.
 */
export function untilInterrupted(): Promise<void> {
  return new Promise((resolve) => {
    let firstAt: number | undefined;
    const onSignal = () => {
      if (firstAt === undefined) {
        firstAt = performance.now();
        resolve();
      } else if (performance.now() - firstAt > 500) {
        process.stderr.write('forced to stop\n');
        process.exit(130);
      }
    };
    process.on('SIGINT', onSignal);
    process.on('SIGTERM', onSignal);
  });
}
