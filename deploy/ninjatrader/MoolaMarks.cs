// Draws the marks of "moola predict FILE --out marks.ninjatrader.csv" on a NinjaTrader 8 chart.
//
// To install: copy this file into Documents/NinjaTrader 8/bin/Custom/Indicators, open the NinjaScript
// editor and press F5. Then add the indicator MoolaMarks to a chart and set File to the path of the csv.
// Times in the file are bar closes in UTC. The chart shows them in the zone set in NinjaTrader.
#region Using declarations
using System;
using System.ComponentModel.DataAnnotations;
using System.Globalization;
using System.IO;
using System.Windows.Media;
using NinjaTrader.NinjaScript;
using NinjaTrader.NinjaScript.DrawingTools;
#endregion

namespace NinjaTrader.NinjaScript.Indicators
{
    public class MoolaMarks : Indicator
    {
        private const string Header = "start,end,high,low,direction,label,probability,p_retracement";
        private bool drawn;

        [NinjaScriptProperty]
        [Display(Name = "File", Description = "The csv written by moola predict", GroupName = "Moola", Order = 0)]
        public string FilePath { get; set; }

        [NinjaScriptProperty]
        [Range(0.0, 1.0)]
        [Display(Name = "Minimum probability", GroupName = "Moola", Order = 1)]
        public double MinimumProbability { get; set; }

        protected override void OnStateChange()
        {
            if (State != State.SetDefaults)
                return;
            Name = "MoolaMarks";
            Description = "Expansions found by Moola";
            IsOverlay = true;
            Calculate = Calculate.OnBarClose;
            FilePath = "";
            MinimumProbability = 0.0;
        }

        protected override void OnBarUpdate()
        {
            if (drawn || State != State.Historical || CurrentBar < Count - 2)
                return;
            drawn = true;
            if (!File.Exists(FilePath))
            {
                Draw.TextFixed(this, "MoolaMissing", "MoolaMarks: file not found: " + FilePath, TextPosition.TopLeft);
                return;
            }
            string[] lines = File.ReadAllLines(FilePath);
            if (lines.Length == 0 || lines[0].Trim() != Header)
            {
                Draw.TextFixed(this, "MoolaHeader", "MoolaMarks: the first line must be " + Header, TextPosition.TopLeft);
                return;
            }
            for (int row = 1; row < lines.Length; row++)
                DrawMark(row, lines[row].Split(','));
        }

        private void DrawMark(int row, string[] cells)
        {
            if (cells.Length < 8 || Number(cells[6]) < MinimumProbability)
                return;
            DateTime start = Local(cells[0]), end = Local(cells[1]);
            double high = Number(cells[2]), low = Number(cells[3]);
            Brush brush = cells[5] == "retracement" ? Brushes.Orange : Brushes.DodgerBlue;
            Draw.Rectangle(this, "Moola" + row, false, start, high, end, low, brush, brush, 20);
            double price = cells[4] == "up" ? low : high;
            Draw.Text(this, "MoolaText" + row, false, cells[5] + " " + cells[6], start, price, 0, brush,
                new Gui.Tools.SimpleFont("Arial", 11), System.Windows.TextAlignment.Left, Brushes.Transparent, Brushes.Transparent, 0);
        }

        private static double Number(string cell)
        {
            return double.Parse(cell, CultureInfo.InvariantCulture);
        }

        private static DateTime Local(string cell)
        {
            DateTime utc = DateTime.ParseExact(cell, "yyyy-MM-dd HH:mm:ss", CultureInfo.InvariantCulture);
            return TimeZoneInfo.ConvertTimeFromUtc(
                DateTime.SpecifyKind(utc, DateTimeKind.Utc), Core.Globals.GeneralOptions.TimeZoneInfo);
        }
    }
}
