"""Write tests/real_parity.json: what transformers says of the tiny folders and the shipped model.

Needs torch, transformers, accelerate and gguf, none of them the package's own:
python tests/benchmarks/real_reference.py FOLDER_OF_TINY_FOLDERS FOLDER_OF_THE_GGUF_FILE
"""

import json
import sys
from pathlib import Path

import numpy as np
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

tiny, shipped = map(Path, sys.argv[1:])
QUESTION = "Tell me something about owls."
TEXT = "Write 123,456 owls' numbers.  Two spaces\n\nnew — dash é 1st"


def stored(model, prompt, every):
    """Return prompt, ten greedy tokens, and log-probabilities of the last of them."""
    tokens, greedy = torch.tensor(prompt)[None], []
    for _ in range(10):
        with torch.no_grad():
            log_p = torch.log_softmax(model(tokens).logits[0, -1], -1)
        greedy.append(int(log_p.argmax()))
        tokens = torch.cat([tokens, torch.tensor([greedy[-1:]])], 1)
    said = [round(float(value), 6) for value in log_p[::every]]
    return {"prompt": [int(token) for token in prompt], "greedy": greedy, "log_p": said}


result = {}
for family in ("llama", "qwen2", "qwen3"):
    model = AutoModelForCausalLM.from_pretrained(tiny / family, dtype=torch.float32)
    result[family] = stored(model, np.arange(3, 15) * 29 % 440, 8)
(file,) = shipped.glob("*.gguf")
tokenizer = AutoTokenizer.from_pretrained(shipped, gguf_file=file.name)
model = AutoModelForCausalLM.from_pretrained(shipped, gguf_file=file.name, dtype=torch.float32)
chat = [{"role": "user", "content": QUESTION}]
prompt = tokenizer.apply_chat_template(chat, add_generation_prompt=True, tokenize=False)
result["shipped"] = stored(model, tokenizer.encode(prompt, add_special_tokens=False), 1024)
tokens = tokenizer.encode(TEXT, add_special_tokens=False)
result["shipped"] |= {"question": QUESTION, "text": TEXT, "tokens": tokens}
path = Path(__file__).parents[1] / "real_parity.json"
path.write_text(json.dumps(result) + "\n")
