"""Ask a running server where the milk is, and print what the model looked at, hop by hop."""

from pathlib import Path

from engram import Client

story = (Path(__file__).parent / "story.txt").read_text().splitlines()

with Client() as client:  # ENGRAM_URL, or http://127.0.0.1:8000
    answer = client.ask(story, "Where is the milk?")

print(f"{answer.answer}  (probability {answer.score:.2f})")
for hop, said in enumerate(answer.hops, start=1):
    print(f"after hop {hop}: {said.answer} ({said.score:.2f})")
for fact in answer.evidence:
    print(f"{fact.weight:.2f}  {fact.text}")
