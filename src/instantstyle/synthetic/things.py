"""The thing classes of the synthetic dataset and their shapes as signed distance fields.

The shapes are made from the glyphs of Noto Emoji (monochrome, OFL-1.1, see OFL.txt beside this file) by
`training/mini/shapes.py`.
"""

from functools import cache
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor

CPU = torch.device("cpu")
EXTENT = 1.3  # a field covers [-EXTENT, EXTENT]; the thing's longer side spans [-1, 1]
FIELD = 96  # px, side of a stored field
LEVELS = 128  # a grey level is 1 / LEVELS of half the thing's longer side; the edge is at LEVELS

# Networks are trained on the indices, and held-out pairs are chosen by them: append new things.
_NAMES_AND_GLYPHS = """
rocket 🚀, cat 🐱, fish 🐟, sailboat ⛵, umbrella ☂, tree 🌳, car 🚗, house 🏠, mushroom 🍄, tulip 🌷,
crown 👑, key 🔑, anchor ⚓, butterfly 🦋, cactus 🌵, bell 🔔, guitar 🎸, cup ☕, penguin 🐧, airplane ✈,
tent ⛺, moon 🌙, rabbit 🐰, snail 🐌, owl 🦉, teapot 🫖, sunflower 🌻, snowman ☃, duck 🦆, dog 🐕,
horse 🐎, elephant 🐘, pig 🐖, sheep 🐑, mouse 🐁, bat 🦇, bird 🐦, swan 🦢, flamingo 🦩, parrot 🦜,
turtle 🐢, snake 🐍, whale 🐳, dolphin 🐬, shark 🦈, octopus 🐙, crab 🦀, lobster 🦞, spider 🕷, bee 🐝,
dinosaur 🦕, dragon 🐉, camel 🐪, kangaroo 🦘, hedgehog 🦔, squirrel 🐿, koala 🐨, panda 🐼, fox 🦊,
monkey 🐒, rooster 🐓, chick 🐤, deer 🦌, frog 🐸, apple 🍏, banana 🍌, cherry 🍒, strawberry 🍓, pear 🍐,
pineapple 🍍, lemon 🍋, watermelon 🍉, avocado 🥑, carrot 🥕, tomato 🍅, croissant 🥐, pretzel 🥨,
pizza 🍕, hamburger 🍔, cupcake 🧁, cake 🎂, doughnut 🍩, lollipop 🍭, candy 🍬, candle 🕯, lantern 🏮,
clock ⏰, hourglass ⏳, watch ⌚, camera 📷, television 📺, radio 📻, telephone ☎, microscope 🔬,
telescope 🔭, book 📖, envelope ✉, pencil ✏, paintbrush 🖌, hammer 🔨, wrench 🔧, axe 🪓, saw 🪚,
ladder 🪜, bucket 🪣, basket 🧺, chair 🪑, bed 🛏, gift 🎁, balloon 🎈, kite 🪁, drum 🥁, trumpet 🎺,
violin 🎻, gem 💎, hat 🎩, dress 👗, shirt 👕, backpack 🎒, bicycle 🚲, bus 🚌, truck 🚚, tractor 🚜,
locomotive 🚂, helicopter 🚁, ship 🚢, satellite 🛰, parachute 🪂, cloud ☁, sun ☀, star ⭐,
snowflake ❄, rainbow 🌈, volcano 🌋, palm 🌴, leaf 🍁, rose 🌹, flame 🔥, planet 🪐, church ⛪,
castle 🏰, skull 💀, ghost 👻, robot 🤖, lightbulb 💡, heart ❤, lock 🔒, magnet 🧲, sword 🗡, trophy 🏆,
bottle 🍾, spoon 🥄, cow 🐄, goat 🐐, tiger 🐅, leopard 🐆, lion 🦁, bear 🐻, giraffe 🦒, zebra 🦓,
gorilla 🦍, llama 🦙, rhinoceros 🦏, hippopotamus 🦛, otter 🦦, beaver 🦫, badger 🦡, sloth 🦥, skunk 🦨,
bison 🦬, mammoth 🦣, boar 🐗, ox 🐂, rat 🐀, hamster 🐹, wolf 🐺, unicorn 🦄, crocodile 🐊, lizard 🦎,
seal 🦭, squid 🦑, shrimp 🦐, blowfish 🐡, shell 🐚, eagle 🦅, turkey 🦃, peacock 🦚, dodo 🦤, dove 🕊,
ant 🐜, ladybird 🐞, beetle 🪲, caterpillar 🐛, scorpion 🦂, mosquito 🦟, worm 🪱, feather 🪶, nest 🪹,
poodle 🐩, chestnut 🌰, clover 🍀, blossom 🌸, hibiscus 🌺, herb 🌿, seedling 🌱, fir 🌲, bouquet 💐,
lotus 🪷, peach 🍑, tangerine 🍊, melon 🍈, mango 🥭, kiwi 🥝, coconut 🥥, eggplant 🍆, cucumber 🥒,
potato 🥔, onion 🧅, chili 🌶, broccoli 🥦, olive 🫒, baguette 🥖, bagel 🥯, waffle 🧇, sandwich 🥪,
taco 🌮, burrito 🌯, cookie 🍪, pie 🥧, honeypot 🍯, egg 🥚, cheese 🧀, steak 🥩, dumpling 🥟, custard 🍮,
goblet 🍷, cocktail 🍸, mug 🍺, jar 🫙, bowl 🥣, knife 🔪, saltshaker 🧂, amphora 🏺, lamp 🪔, torch 🔦,
battery 🔋, plug 🔌, keyboard ⌨, computer 🖥, printer 🖨, joystick 🕹, gamepad 🎮, microphone 🎤,
megaphone 📣, piano 🎹, saxophone 🎷, banjo 🪕, accordion 🪗, palette 🎨, mask 🎭, clapperboard 🎬,
die 🎲, target 🎯, boomerang 🪃, wand 🪄, puzzle 🧩, doll 🪆, basketball 🏀, football 🏈, racket 🎾,
helmet 🪖, glove 🥊, skate ⛸, skateboard 🛹, sled 🛷, medal 🏅, flag 🚩, bow 🏹, shield 🛡, bomb 💣,
ring 💍, necktie 👔, coat 🧥, kimono 👘, cap 🧢, shoe 👞, sneaker 👟, boot 🥾, sandal 🩴, sock 🧦,
scarf 🧣, bikini 👙, purse 👛, briefcase 💼, suitcase 🧳, lipstick 💄, razor 🪒, toothbrush 🪥,
mirror 🪞, broom 🧹, sponge 🧽, plunger 🪠, bathtub 🛁, toilet 🚽, couch 🛋, door 🚪, window 🪟,
toolbox 🧰, screwdriver 🪛, brick 🧱, pickaxe ⛏, gear ⚙, chain ⛓, hook 🪝, needle 🪡, yarn 🧶,
pushpin 📌, paperclip 📎, ruler 📏, scroll 📜, newspaper 📰, notebook 📓, mailbox 📫, package 📦,
globe 🌍, compass 🧭, abacus 🧮, alembic ⚗, syringe 💉, pill 💊, stethoscope 🩺, tooth 🦷, bone 🦴,
brain 🧠, eye 👁, ear 👂, nose 👃, mouth 👄, footprint 👣, paw 🐾, scooter 🛴, moped 🛵, motorcycle 🏍,
taxi 🚕, van 🚐, ambulance 🚑, tram 🚊, ferry ⛴, canoe 🛶, speedboat 🚤, saucer 🛸, mountain 🏔,
island 🏝, wave 🌊, comet ☄, tornado 🌪, droplet 💧, fountain ⛲, stadium 🏟, temple 🏛, factory 🏭,
hut 🛖, mosque 🕌, tower 🗼, statue 🗽, moai 🗿, carousel 🎠, pumpkin 🎃, teddy 🧸, alien 👽, trident 🔱,
ribbon 🎀
"""
GLYPHS: dict[str, str] = dict(map(str.split, _NAMES_AND_GLYPHS.replace("\n", " ").strip().split(", ")))
"""Name of a thing class → the character whose glyph is its shape."""
THINGS = tuple(GLYPHS)


@cache
def load_shape_fields(device: torch.device = CPU) -> Float[Tensor, "thing 2 height width"]:
    """Load silhouette and line art of every thing as signed distances; cached per device.

    Args:
        device: The device to load the fields to.

    Returns:
        Distances to silhouette and lines in units of half the thing's longer side, positive inside.
    """
    if device != CPU:
        return load_shape_fields().to(device)
    with Image.open(Path(__file__).with_name("shapes.png")) as sheet:
        gray = torch.from_numpy(np.array(sheet)).float()
    sides = gray.view(len(THINGS), FIELD, 2, FIELD).transpose(1, 2)
    return ((sides - LEVELS) / LEVELS).contiguous()
