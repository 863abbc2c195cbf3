"use strict";
// Keeps the page that is open up to date: a stream says that there is something new, and the page is asked for
// again. Without this script everything can be read as well; it is as old as the page then.

(() => {
  const ALIVE_WITHIN_MS = 35000; // The hub sends something every ten seconds.
  const SAID_AFTER_MS = 4000; // A hub that starts again is back before anybody has to read so.
  const RETRY_MS = 5000;
  const FULL_RETRY_MS = 30000;
  const DAY_S = 86400;

  const content = document.getElementById("content");
  const words = document.getElementById("words").dataset;
  const notice = document.getElementById("notice");
  const news = document.getElementById("news");
  const ages = JSON.parse(words.ages);
  const address = location.pathname + location.search;

  let skew = null; // By how much the hub's clock is ahead of this machine's, in ms.
  let stream = null;
  let lostAt = null;
  let heardAt = 0;
  let wanted = content.dataset.live;
  let isAsking = false;

  const ageText = (seconds) => {
    if (seconds < 60) return ages[0].replace("{number}", Math.floor(seconds));
    if (seconds < 7200) return ages[1].replace("{number}", Math.floor(seconds / 60));
    if (seconds < 2 * DAY_S) return ages[2].replace("{number}", Math.floor(seconds / 3600));
    return ages[3].replace("{number}", Math.floor(seconds / DAY_S));
  };

  const age = (root) => {
    if (skew === null) return;
    const now = Date.now() + skew;
    for (const time of root.querySelectorAll("time.ago")) {
      const text = ageText(Math.max(0, (now - Date.parse(time.dateTime)) / 1000));
      if (time.textContent !== text) time.textContent = text;
    }
  };

  const say = (text) => {
    notice.hidden = text === "";
    if (notice.textContent !== text) notice.textContent = text;
  };

  const lost = () => {
    lostAt ??= Date.now();
  };

  // What a reader who does not see the page should know of: the sentence that sums it up, if it is another.
  const summary = () => [...content.querySelectorAll("h1, .verdict .lead, p.lead .state")]
    .map((element) => element.textContent.trim().replace(/\s+/g, " ")).join(". ");

  const display = (page) => {
    const next = page.getElementById("content");
    if (next === null) return;
    age(page);
    const before = summary();
    morph(content, next);
    for (const id of ["state", "about"]) morph(document.getElementById(id), page.getElementById(id));
    if (document.title !== page.title) document.title = page.title;
    const after = summary();
    if (after !== before) news.textContent = after;
    document.dispatchEvent(new Event("lading:displayed"));
  };

  const ask = async () => {
    if (isAsking || wanted === content.dataset.live) return;
    isAsking = true;
    const id = wanted;
    try {
      const answer = await fetch(address, { headers: { "lading-live": id }, cache: "no-store", redirect: "error" });
      display(new DOMParser().parseFromString(await answer.text(), "text/html"));
      // What came may be newer than what was announced, or of a page that is not live.
      if (wanted === id) wanted = content.dataset.live;
    } catch (error) {
      if (!(error instanceof TypeError)) throw error;
      lost(); // The next sign of life asks again.
    } finally {
      isAsking = false;
    }
    if (lostAt === null) ask();
  };

  const heard = (event) => {
    const { now, read_at: readAt } = JSON.parse(event.data);
    heardAt = Date.now();
    skew = now * 1000 - heardAt;
    lostAt = null;
    say("");
    const read = document.querySelector("#about time.ago");
    if (read !== null && readAt) read.dateTime = new Date(readAt * 1000).toISOString();
    age(document);
    ask();
  };

  const disconnect = () => {
    stream?.close();
    stream = null;
  };

  const connect = () => {
    if (stream !== null || document.hidden) return;
    const query = new URLSearchParams({ page: address, id: content.dataset.live });
    stream = new EventSource(`/live?${query}`);
    heardAt = Date.now();
    stream.addEventListener("alive", heard);
    stream.addEventListener("changed", (event) => {
      wanted = event.lastEventId;
      heard(event);
    });
    stream.addEventListener("full", (event) => {
      disconnect();
      say(words.full.replace("{count}", event.data));
      setTimeout(connect, FULL_RETRY_MS);
    });
    stream.onerror = () => {
      lost();
      // It tries again by itself, unless something other than the hub has answered.
      if (stream?.readyState !== EventSource.CLOSED) return;
      disconnect();
      setTimeout(connect, RETRY_MS);
    };
  };

  const tick = () => {
    if (document.hidden) return;
    if (stream !== null && Date.now() - heardAt > ALIVE_WITHIN_MS) {
      lost();
      disconnect();
      connect();
    }
    if (lostAt !== null && Date.now() - lostAt > SAID_AFTER_MS) {
      say(words.lost.replace("{when}", new Date(lostAt).toLocaleTimeString(document.documentElement.lang)));
    }
    age(document);
  };

  // A form that changes something says what its page displayed: nothing may change under it.
  if (!content.dataset.live || content.querySelector("form[method='post']") !== null) return;
  document.addEventListener("visibilitychange", () => (document.hidden ? disconnect() : connect()));
  addEventListener("pagehide", disconnect);
  addEventListener("pageshow", connect);
  setInterval(tick, 1000);
  connect();
})();
