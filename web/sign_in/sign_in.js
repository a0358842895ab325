// SPDX-License-Identifier: Apache-2.0
// Exchanges an access token for a session of this browser, and opens the page.

const form = document.getElementById("form");
const error = document.getElementById("error");

form.addEventListener("submit", async (event) => {
  event.preventDefault();
  error.hidden = true;
  const token = document.getElementById("token").value.trim();
  const answer = await fetch("/api/v1/session", {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify({ token }),
  }).catch(() => null);
  if (answer?.ok) location.reload();
  else error.hidden = false;
});
