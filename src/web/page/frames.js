// Draws at most once per frame, so that other clients don't control the number of draws.

/** Longest delay of a draw. A hidden page gets no frames, but its title is visible. */
const LATEST_MS = 500;

/** Returns a function that schedules `draw` for the next frame. Further calls before that have no effect. */
export function oncePerFrame(draw) {
  let frame = 0;
  let timer = 0;
  const run = () => {
    cancelAnimationFrame(frame);
    clearTimeout(timer);
    timer = 0;
    draw();
  };
  return () => {
    if (timer) return;
    frame = requestAnimationFrame(run);
    timer = setTimeout(run, LATEST_MS);
  };
}
